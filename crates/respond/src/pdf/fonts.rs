//! The fonts of letters, and shaping: kerning and ligatures included, so that
//! what is measured is what is drawn.

use krilla::text::{Font, GlyphId, KrillaGlyph};
use rustybuzz::{Direction, Face, ShapePlan, UnicodeBuffer, script};

use super::PdfError;

/// A cut of the typeface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Cut {
    Regular,
    Italic,
    Semibold,
}

impl Cut {
    const ALL: [(Cut, &'static str); 3] = [
        (Cut::Regular, "LibertinusSerif-Regular"),
        (Cut::Italic, "LibertinusSerif-Italic"),
        (Cut::Semibold, "LibertinusSerif-Semibold"),
    ];
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The loaded fonts; loading them once serves all documents of a draft.
pub(crate) struct Fonts {
    cuts: Vec<Loaded>,
}

struct Loaded {
    font: Font,
    face: Face<'static>,
    /// For Latin script; making a plan costs more than shaping a word.
    latin: ShapePlan,
}

/// Text with its glyphs; advances in units of the font size.
pub(crate) struct Shaped {
    pub(crate) text: String,
    pub(crate) glyphs: Vec<KrillaGlyph>,
    /// Width at size 1.
    pub(crate) width_em: f32,
}

impl Fonts {
    /// Finds and reads the fonts that are compiled in.
    pub(crate) fn load() -> Result<Fonts, PdfError> {
        let mut cuts = Vec::new();
        for (cut, name) in Cut::ALL {
            let (font, face) = typst_assets::fonts()
                .find_map(|data| {
                    let face = Face::from_slice(data, 0).filter(|face| is_named(face, name))?;
                    Some((Font::new(data.into(), 0)?, face))
                })
                .ok_or(PdfError::Font(name))?;
            debug_assert_eq!(cut as usize, cuts.len());
            let latin =
                ShapePlan::new(&face, Direction::LeftToRight, Some(script::LATIN), None, &[]);
            cuts.push(Loaded { font, face, latin });
        }
        Ok(Fonts { cuts })
    }

    fn cut(&self, cut: Cut) -> &Loaded {
        // `load` leaves a font for every cut, in order.
        &self.cuts[cut as usize]
    }

    pub(crate) fn font(&self, cut: Cut) -> Font {
        self.cut(cut).font.clone()
    }

    /// Whether every character of `text` can be drawn as it should be.
    pub(crate) fn covers(&self, text: &str) -> bool {
        text.chars().all(|c| self.has(Cut::Regular, c))
    }

    fn has(&self, cut: Cut, c: char) -> bool {
        c == ' '
            || (!c.is_control()
                && !is_right_to_left(c)
                && self.cut(cut).face.glyph_index(c).is_some())
    }

    /// `text` with what cannot be drawn replaced by `?`: an unreadable
    /// character must not stop a whole mailing (see [`Fonts::covers`]). Apostrophes
    /// become typographic ones, and blanks in `45 CFR 164` and `June 3` hold.
    pub(crate) fn drawable(&self, text: &str) -> String {
        let mut bound = text.replace("45 CFR ", "45\u{a0}CFR\u{a0}");
        for month in MONTHS {
            if bound.contains(month) {
                bound = bound.replace(&format!("{month} "), &format!("{month}\u{a0}"));
            }
        }
        bound
            .chars()
            .map(|c| {
                if c == '\'' {
                    '\u{2019}'
                } else if c.is_whitespace() && c != '\u{a0}' {
                    ' '
                } else if Cut::ALL.iter().all(|(cut, _)| self.has(*cut, c)) {
                    c
                } else {
                    '?'
                }
            })
            .collect()
    }

    /// Shapes one line or one word; `text` must be [`drawable`](Self::drawable).
    pub(crate) fn shape(&self, cut: Cut, text: &str) -> Shaped {
        let Loaded { face, latin, .. } = self.cut(cut);
        let mut buffer = UnicodeBuffer::new();
        buffer.push_str(text);
        buffer.guess_segment_properties();
        buffer.set_direction(Direction::LeftToRight);
        if buffer.script() == script::UNKNOWN {
            buffer.set_script(script::LATIN); // digits and punctuation
        }
        let output = if buffer.script() == script::LATIN {
            rustybuzz::shape_with_plan(face, latin, buffer)
        } else {
            rustybuzz::shape(face, &[], buffer)
        };
        let em = face.units_per_em() as f32;
        let infos = output.glyph_infos();
        let mut glyphs = Vec::with_capacity(infos.len());
        let mut width_em = 0.0;
        for (place, (info, position)) in infos.iter().zip(output.glyph_positions()).enumerate() {
            let start = info.cluster as usize;
            let end = infos[place..]
                .iter()
                .map(|next| next.cluster as usize)
                .find(|next| *next != start)
                .unwrap_or(text.len());
            let advance = position.x_advance as f32 / em;
            width_em += advance;
            glyphs.push(KrillaGlyph::new(
                GlyphId::new(info.glyph_id),
                advance,
                position.x_offset as f32 / em,
                position.y_offset as f32 / em,
                position.y_advance as f32 / em,
                start..end,
                None,
            ));
        }
        Shaped { text: text.to_owned(), glyphs, width_em }
    }

    /// Width of `text` at `size`, in points.
    pub(crate) fn width(&self, cut: Cut, size: f32, text: &str) -> f32 {
        self.shape(cut, text).width_em * size
    }
}

/// Hebrew, Arabic and their neighbours: lines here run from left to right only.
fn is_right_to_left(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}')
}

fn is_named(face: &Face<'_>, name: &str) -> bool {
    const POSTSCRIPT_NAME: u16 = 6;
    face.names()
        .into_iter()
        .filter(|entry| entry.name_id == POSTSCRIPT_NAME)
        .filter_map(|entry| entry.to_string())
        .any(|found| found == name)
}
