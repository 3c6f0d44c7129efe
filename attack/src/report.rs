//! The table, for people.

use std::fmt::Write as _;

use crate::trial::{Class, Confidence, Score};

/// Standard errors beyond which a difference is no chance: with some twenty
/// questions, one store in about forty is called leaky by chance.
pub const DEVIATIONS: f64 = 3.0;
/// Standard errors of the 95% interval that is printed.
const PRINTED: f64 = 1.96;

/// The scores of one engine as a Markdown table.
pub fn table(title: &str, scores: &[Score]) -> String {
    let mut text = format!(
        "\n{title}\n\n| to be recovered | values | guesses | recovered | blind guess | difference (95%) | verdict | picked attack; what told most |\n|---|---|---|---|---|---|---|---|\n"
    );
    for score in scores {
        let percent = |share: f64| format!("{:.1}%", share * 100.0);
        let clues = if score.clues.is_empty() || !score.leaks(DEVIATIONS) {
            String::new()
        } else {
            format!("; {}", score.clues.join(", "))
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {:+.1} ± {:.1} | {} | {}{clues} |",
            score.class.name(),
            score.values,
            score.guesses,
            percent(score.recovered),
            percent(score.blind),
            score.difference() * 100.0,
            score.interval(PRINTED) * 100.0,
            verdict(score),
            score.attack,
        );
    }
    text
}

fn verdict(score: &Score) -> &'static str {
    if score.leaks(DEVIATIONS) { "**leaks**" } else { "no better" }
}

/// What a thief without the truth can say.
pub fn confidences(title: &str, confidences: &[Confidence]) -> String {
    let mut text = format!(
        "\n{title}\n\n| guessed | items | how sure the thief is | sure without looking |\n|---|---|---|---|\n"
    );
    for told in confidences {
        let _ = writeln!(
            text,
            "| {} | {} | {:.1}% | {:.1}% |",
            told.class.name(),
            told.guesses,
            told.sure * 100.0,
            told.blind * 100.0,
        );
    }
    text.push_str(
        "\nHow sure the thief is says nothing of whether he is right: with few people of his own he \
         is surer than he should be. Give --truth to count.\n",
    );
    text
}

/// How to read the table.
pub fn legend() -> String {
    format!(
        "\nThe thief has every byte of the store and no key, knows the public tables exactly, and has \
         learned on a store of his own.\nrecovered: share of guesses that are right. blind guess: share \
         that is right when always the commonest value is named. {}: share that is right of the tenth \
         of the patients that look most like it, beside a tenth taken at random.\nThe codes are \
         guessed for resources whose type the thief is told. leaks: more than {DEVIATIONS} standard \
         errors above the blind guess, guesses about one patient taken together.\n",
        Class::Sensitive.name()
    )
}

/// Whether anything is better than guessing.
pub fn leaking(scores: &[Score]) -> Vec<&Score> {
    scores.iter().filter(|score| score.leaks(DEVIATIONS)).collect()
}
