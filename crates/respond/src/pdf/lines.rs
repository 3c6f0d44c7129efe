//! Breaking paragraphs into lines: the breaks with the least sum of squared
//! white space, so that ragged-right lines come out even. No hyphenation.

use super::fonts::{Cut, Fonts};

/// A stretch of text in one cut.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Run {
    pub(crate) cut: Cut,
    pub(crate) text: String,
}

/// One line: runs in order; the blank between two runs stands at the end of
/// the former.
pub(crate) type Line = Vec<Run>;

struct Word {
    cut: Cut,
    text: String,
    width: f32,
}

/// Breaks `runs` into lines of at most `width` points at `size`. A word that is
/// wider than a line is cut into pieces.
pub(crate) fn break_lines(fonts: &Fonts, runs: &[Run], size: f32, width: f32) -> Vec<Line> {
    let words = words(fonts, runs, size, width);
    let blank = fonts.width(Cut::Regular, size, " ");
    lines(&words, &breaks(&words, blank, width))
}

fn words(fonts: &Fonts, runs: &[Run], size: f32, width: f32) -> Vec<Word> {
    let mut words = Vec::new();
    for run in runs {
        for text in fonts.drawable(&run.text).split(' ').filter(|word| !word.is_empty()) {
            let measured = fonts.width(run.cut, size, text);
            if measured <= width {
                words.push(Word { cut: run.cut, text: text.to_owned(), width: measured });
                continue;
            }
            for piece in pieces(fonts, run.cut, text, size, width) {
                let width = fonts.width(run.cut, size, &piece);
                words.push(Word { cut: run.cut, text: piece, width });
            }
        }
    }
    words
}

/// Pieces of a word that is wider than a line, each as wide as fits.
fn pieces(fonts: &Fonts, cut: Cut, word: &str, size: f32, width: f32) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for c in word.chars() {
        let last = pieces.len() - 1;
        let longer = format!("{}{c}", pieces[last]);
        if !pieces[last].is_empty() && fonts.width(cut, size, &longer) > width {
            pieces.push(c.to_string());
        } else {
            pieces[last] = longer;
        }
    }
    pieces
}

/// Index of the first word of each line.
fn breaks(words: &[Word], blank: f32, width: f32) -> Vec<usize> {
    let count = words.len();
    // best[i]: least badness of setting words[i..], and where its first line ends.
    let mut best = vec![(f32::INFINITY, count); count + 1];
    best[count] = (0.0, count);
    for start in (0..count).rev() {
        let mut used = 0.0;
        for end in start..count {
            used += words[end].width + if end > start { blank } else { 0.0 };
            if used > width && end > start {
                break;
            }
            let slack = (width - used).max(0.0) / width;
            let is_last = end + 1 == count;
            let badness = match is_last {
                // A last line may be short, but not a single short word.
                true if slack > 0.88 && start > 0 => 0.4,
                true => 0.0,
                false => slack * slack,
            };
            let sum = badness + best[end + 1].0;
            if sum < best[start].0 {
                best[start] = (sum, end + 1);
            }
        }
    }
    let mut starts = Vec::new();
    let mut at = 0;
    while at < count {
        starts.push(at);
        at = best[at].1;
    }
    starts
}

fn lines(words: &[Word], starts: &[usize]) -> Vec<Line> {
    let ends = starts.iter().skip(1).copied().chain([words.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(&start, end)| {
            let mut line: Line = Vec::new();
            for word in &words[start..end] {
                match line.last_mut() {
                    Some(run) if run.cut == word.cut => {
                        run.text.push(' ');
                        run.text.push_str(&word.text);
                    }
                    Some(run) => {
                        run.text.push(' ');
                        line.push(Run { cut: word.cut, text: word.text.clone() });
                    }
                    None => line.push(Run { cut: word.cut, text: word.text.clone() }),
                }
            }
            line
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fonts() -> &'static Fonts {
        static FONTS: std::sync::LazyLock<Fonts> =
            std::sync::LazyLock::new(|| Fonts::load().expect("the built-in fonts"));
        &FONTS
    }

    fn broken(text: &str, width: f32) -> Vec<String> {
        let run = Run { cut: Cut::Regular, text: text.to_owned() };
        break_lines(fonts(), &[run], 11.0, width)
            .into_iter()
            .map(|line| line.into_iter().map(|run| run.text).collect())
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_line_is_too_wide_and_no_word_is_lost(
            words in prop::collection::vec("[a-zA-Zé]{1,18}", 0..40),
            width in 120f32..500.0,
        ) {
            let lines = broken(&words.join(" "), width);
            for line in &lines {
                prop_assert!(fonts().width(Cut::Regular, 11.0, line) <= width + 0.5);
            }
            prop_assert_eq!(lines.join(" "), words.join(" "));
        }
    }

    #[test]
    fn a_word_wider_than_the_line_is_cut_and_kept() {
        let word = "x".repeat(200);
        let lines = broken(&word, 100.0);
        assert!(lines.len() > 5);
        assert_eq!(lines.concat(), word);
    }

    #[test]
    fn what_the_fonts_lack_is_marked_and_known() {
        assert!(fonts().covers("Zoë Müller-Łukasz Nguyễn Ελένη Иван"));
        assert!(!fonts().covers("李") && !fonts().covers("שלום"));
        assert_eq!(fonts().drawable("李 a\tb\u{0}"), "? a b?");
    }
}
