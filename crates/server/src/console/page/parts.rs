//! Small parts that several pages share.

use maud::{Markup, html};

use super::super::view::Moment;

/// `1 record`, `3 records`.
pub(super) fn counted(count: usize, one: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {one}{}", if one.ends_with('h') { "es" } else { "s" }),
    }
}

/// A whole number in groups of three.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A date that does not break, with its time below it when asked for.
pub(super) fn date(moment: Option<&Moment>) -> Markup {
    html! { @if let Some(moment) = moment { span.date { (moment.date()) } } @else { span.faint { "no date" } } }
}

/// A date with its time.
pub(super) fn date_time(moment: &Moment) -> Markup {
    html! {
        span.date { (moment.date()) } " "
        @if !moment.minute().is_empty() { span.minute { (moment.minute()) } }
    }
}

/// A status as a small label.
pub(super) fn tag(text: &str, class: &str) -> Markup {
    html! { @if !text.is_empty() { span class={ "tag " (class) } { (text) } } }
}

/// What an empty list says.
pub(super) fn nothing(text: &str) -> Markup {
    html! { p.nothing { (text) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_read_as_people_write_them() {
        assert_eq!(counted(1, "patient"), "1 patient");
        assert_eq!(
            (counted(0, "match"), counted(2, "record")),
            ("0 matches".into(), "2 records".into())
        );
        assert_eq!([0, 999, 1000, 3_900_000].map(grouped), ["0", "999", "1,000", "3,900,000"]);
    }
}
