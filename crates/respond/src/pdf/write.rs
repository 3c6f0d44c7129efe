//! Drawing the laid-out pieces with krilla, with tags, outline and metadata.

use std::num::NonZeroU16;

use krilla::{
    Document as Pdf, SerializeSettings,
    color::rgb,
    configure::{Accessibility, Configuration, ConfigurationBuilder},
    geom::{PathBuilder, Point, Rect},
    metadata::{DateTime, Metadata},
    num::NormalizedF32,
    outline::{Outline, OutlineNode},
    page::PageSettings,
    paint::Fill,
    surface::Surface,
    tagging::{
        Artifact, ArtifactType, ContentTag, Identifier, ListNumbering, Node, SpanTag,
        TableHeaderScope, Tag, TagGroup, TagKind, TagTree,
    },
};

use super::{
    PdfError,
    fonts::{Cut, Fonts},
    lines::Line,
    page::{
        HEIGHT, Ink, LEFT, Layout, MEASURE, NEXT_TOP, Piece, Plan, RIGHT, Role, SMALL, WIDTH,
        paginate, run,
    },
};
use crate::document::Document;

/// Renders `document` as a PDF of US Letter pages. The same document gives the
/// same bytes. `date` is the day on the letter.
///
/// # Errors
/// [`PdfError::Refused`] when the result would not be accessible PDF: a defect.
pub(crate) fn render(
    fonts: &Fonts,
    document: &Document,
    date: jiff::civil::Date,
) -> Result<Vec<u8>, PdfError> {
    let layout = Layout::of(fonts, document);
    let places = paginate(&layout.flow);
    let pages = places.last().map_or(1, |(page, _)| page + 1);
    let mut pdf = Pdf::new_with(SerializeSettings {
        configuration: accessible()?,
        ..SerializeSettings::default()
    });
    let mut leaves: Vec<Vec<Identifier>> = vec![Vec::new(); layout.leaves];
    let size = PageSettings::from_wh(WIDTH, HEIGHT)
        .ok_or_else(|| PdfError::Refused("page size".to_owned()))?;
    for number in 0..pages {
        let mut page = pdf.start_page_with(size.clone());
        let mut surface = page.surface();
        let mut sheet = Sheet { fonts, surface: &mut surface, leaves: &mut leaves };
        if number == 0 {
            for (top, piece) in &layout.fixed {
                sheet.piece(piece, *top);
            }
            sheet.fold_marks();
        } else {
            sheet.running_head(document);
        }
        for (piece, (_, top)) in layout.flow.iter().zip(&places).filter(|(_, at)| at.0 == number) {
            sheet.piece(piece, *top);
        }
        sheet.foot(document, number + 1, pages);
        surface.finish();
        page.finish();
    }
    pdf.set_outline(outline(&layout.flow, &places));
    let mut tree = TagTree::new().with_lang(Some("en-US".to_owned()));
    for plan in &layout.plan {
        tree.push(node(plan, &mut leaves));
    }
    pdf.set_tag_tree(tree);
    pdf.set_metadata(metadata(document, date));
    pdf.finish().map_err(|error| PdfError::Refused(error.to_string()))
}

fn accessible() -> Result<Configuration, PdfError> {
    ConfigurationBuilder::new()
        .with_accessibility_validator(Accessibility::UA1)
        .finish()
        .map_err(|_| PdfError::Refused("PDF/UA-1 configuration".to_owned()))
}

fn metadata(document: &Document, date: jiff::civil::Date) -> Metadata {
    let year = u16::try_from(date.year()).unwrap_or_default();
    let month = u8::try_from(date.month()).unwrap_or(1);
    let day = u8::try_from(date.day()).unwrap_or(1);
    Metadata::new()
        .title(document.about.clone())
        .language("en-US".to_owned())
        .authors(vec![document.sender.name.clone()])
        .creator("Holdfast".to_owned())
        .creation_date(DateTime::new(year).month(month).day(day))
}

fn outline(flow: &[Piece], places: &[(usize, f32)]) -> Outline {
    let mut outline = Outline::new();
    for (piece, (page, y)) in flow.iter().zip(places) {
        if let Some(text) = &piece.heading {
            let at = krilla::destination::XyzDestination::new(*page, Point::from_xy(LEFT, *y));
            outline.push_child(OutlineNode::new(text.clone(), at));
        }
    }
    outline
}

fn node(plan: &Plan, leaves: &mut [Vec<Identifier>]) -> Node {
    match plan {
        Plan::Group(role, children) => {
            let mut group = TagGroup::new(tag(role));
            for child in children {
                match child {
                    Plan::Leaf(leaf) => {
                        for identifier in std::mem::take(&mut leaves[*leaf]) {
                            group.push(identifier);
                        }
                    }
                    Plan::Group(..) => group.push(node(child, leaves)),
                }
            }
            Node::Group(group)
        }
        // A leaf stands in a group; `Layout` makes no other.
        Plan::Leaf(_) => Node::Group(TagGroup::new(Tag::P)),
    }
}

fn tag(role: &Role) -> TagKind {
    match role {
        Role::Title(text) => Tag::Hn(NonZeroU16::MIN, Some(text.clone())).into(),
        Role::Heading(text) => {
            Tag::Hn(NonZeroU16::MIN.saturating_add(1), Some(text.clone())).into()
        }
        Role::Paragraph => Tag::P.into(),
        Role::List => Tag::L(ListNumbering::Disc).into(),
        Role::Item => Tag::LI.into(),
        Role::Label => Tag::Lbl.into(),
        Role::Body => Tag::LBody.into(),
        Role::Table => Tag::Table.into(),
        Role::Head => Tag::THead.into(),
        Role::Rows => Tag::TBody.into(),
        Role::Row => Tag::TR.into(),
        Role::HeadCell => Tag::TH(TableHeaderScope::Column).into(),
        Role::Cell => Tag::TD.into(),
    }
}

struct Sheet<'a, 'b> {
    fonts: &'a Fonts,
    surface: &'a mut Surface<'b>,
    leaves: &'a mut Vec<Vec<Identifier>>,
}

impl Sheet<'_, '_> {
    fn piece(&mut self, piece: &Piece, top: f32) {
        for text in &piece.texts {
            let tag = ContentTag::Span(SpanTag::empty());
            let identifier = self.surface.start_tagged(tag);
            self.line(text.x, top + text.dy, text.size, text.ink, &text.line);
            self.surface.end_tagged();
            self.leaves[text.leaf].push(identifier);
        }
        for rule in &piece.rules {
            self.artifact(ArtifactType::Layout, |sheet| {
                sheet.rule(LEFT, RIGHT, top + rule.dy, rule.weight, rule.ink);
            });
        }
    }

    fn line(&mut self, mut x: f32, y: f32, size: f32, ink: Ink, line: &Line) {
        self.surface.set_fill(Some(fill(ink)));
        for run in line {
            let shaped = self.fonts.shape(run.cut, &run.text);
            self.surface.draw_glyphs(
                Point::from_xy(x, y),
                &shaped.glyphs,
                self.fonts.font(run.cut),
                &shaped.text,
                size,
                false,
            );
            x += shaped.width_em * size;
        }
    }

    fn artifact(&mut self, kind: ArtifactType, draw: impl FnOnce(&mut Self)) {
        // An artifact's identifier is not part of the tag tree.
        let _ = self.surface.start_tagged(ContentTag::Artifact(Artifact::with_kind(kind)));
        draw(self);
        self.surface.end_tagged();
    }

    fn rule(&mut self, from: f32, to: f32, y: f32, weight: f32, ink: Ink) {
        let mut path = PathBuilder::new();
        let Some(bar) = Rect::from_xywh(from, y - weight / 2.0, to - from, weight) else { return };
        path.push_rect(bar);
        if let Some(path) = path.finish() {
            self.surface.set_fill(Some(fill(ink)));
            self.surface.draw_path(&path);
        }
    }

    /// Where the sheet is folded in three for the envelope.
    fn fold_marks(&mut self) {
        for y in [HEIGHT / 3.0, HEIGHT * 2.0 / 3.0] {
            self.artifact(ArtifactType::Page, |sheet| sheet.rule(16.0, 26.0, y, 0.4, Ink::Quiet));
        }
    }

    fn running_head(&mut self, document: &Document) {
        self.artifact(ArtifactType::Header, |sheet| {
            let y = NEXT_TOP - 33.0;
            sheet.small(LEFT, y, &document.sender.name);
            sheet.small_right(RIGHT, y, &document.date);
            sheet.rule(LEFT, RIGHT, y + 8.0, 0.4, Ink::Accent);
        });
    }

    fn foot(&mut self, document: &Document, number: usize, pages: usize) {
        self.artifact(ArtifactType::Footer, |sheet| {
            let y = HEIGHT - 38.0;
            sheet.small(LEFT, y, &format!("Reference {}", document.reference));
            sheet.small_right(RIGHT, y, &format!("Page {number} of {pages}"));
        });
    }

    fn small(&mut self, x: f32, y: f32, text: &str) {
        let text = self.fonts.drawable(text);
        self.line(x, y, SMALL, Ink::Quiet, &vec![run(Cut::Regular, &text)]);
    }

    fn small_right(&mut self, right: f32, y: f32, text: &str) {
        let width = self.fonts.width(Cut::Regular, SMALL, text).min(MEASURE);
        self.small(right - width, y, text);
    }
}

fn fill(ink: Ink) -> Fill {
    let (red, green, blue) = match ink {
        Ink::Text => (0x18, 0x18, 0x1b),
        Ink::Accent => (0x1c, 0x3a, 0x5e),
        Ink::Quiet => (0x4b, 0x52, 0x5a),
        Ink::Hair => (0xb9, 0xc0, 0xc9),
    };
    Fill {
        paint: rgb::Color::new(red, green, blue).into(),
        opacity: NormalizedF32::ONE,
        rule: Default::default(),
    }
}
