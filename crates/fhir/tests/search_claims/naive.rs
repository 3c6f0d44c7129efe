//! The definitions of FHIR R4 search.html, applied to resources as they stand: no
//! index, no spans, no folded texts shared with what is tested. Slow and plain.

use serde_json::Value;

/// Whether `resource` meets `name=value`.
pub fn meets(resource: &Value, name: &str, value: &str) -> bool {
    let (parameter, modifier) = name.split_once(':').unwrap_or((name, ""));
    if modifier == "missing" {
        return values(resource, parameter).is_empty() == (value == "true");
    }
    let any = value.split(',').any(|one| {
        values(resource, parameter).iter().any(|(kind, found)| compare(kind, modifier, found, one))
    });
    // search.html#modifiers: what is not in the set, resources without a value included.
    if modifier == "not" { !any } else { any }
}

/// The values of a parameter, each with the name of its comparison.
fn values<'a>(resource: &'a Value, parameter: &str) -> Vec<(&'static str, &'a Value)> {
    let list = |value: &'a Value| -> Vec<&'a Value> {
        match value {
            Value::Null => Vec::new(),
            Value::Array(items) => items.iter().collect(),
            one => vec![one],
        }
    };
    let all = |kind: &'static str, found: Vec<&'a Value>| {
        found.into_iter().map(|value| (kind, value)).collect::<Vec<_>>()
    };
    let within = |outer: &str, inner: &str| -> Vec<&'a Value> {
        list(&resource[outer]).into_iter().flat_map(|item| list(&item[inner])).collect()
    };
    match parameter {
        "code" => all("coding", list(&resource["code"]["coding"])),
        "gender" => all("code", list(&resource["gender"])),
        "identifier" => all("identifier", list(&resource["identifier"])),
        "birthdate" => all("date", list(&resource["birthDate"])),
        "date" => {
            let mut found = all("date", list(&resource["effectiveDateTime"]));
            found.extend(all("period", list(&resource["effectivePeriod"])));
            found
        }
        "family" => all("string", within("name", "family")),
        "given" => all("string", within("name", "given")),
        "value-quantity" => all("quantity", list(&resource["valueQuantity"])),
        "probability" => all("number", within("prediction", "probabilityDecimal")),
        "subject" => all("reference", list(&resource["subject"]["reference"])),
        "url" => all("uri", list(&resource["url"])),
        other => panic!("the evaluator does not know {other}"),
    }
}

fn compare(kind: &str, modifier: &str, found: &Value, wanted: &str) -> bool {
    match kind {
        "coding" => token(found["system"].as_str(), found["code"].as_str(), wanted),
        "identifier" => token(found["system"].as_str(), found["value"].as_str(), wanted),
        "code" => token(Some("http://hl7.org/fhir/administrative-gender"), found.as_str(), wanted),
        "string" => string(modifier, found.as_str().unwrap_or_default(), wanted),
        "date" => instant(found.as_str().unwrap_or_default())
            .is_some_and(|(from, to)| ordered(wanted, from, to)),
        "period" => {
            let from = found["start"].as_str().map_or(Some(i128::MIN), |s| Some(instant(s)?.0));
            let to = found["end"].as_str().map_or(Some(i128::MAX), |s| Some(instant(s)?.1));
            from.zip(to).is_some_and(|(from, to)| ordered(wanted, from, to))
        }
        "number" => amount(wanted, &found.to_string(), None, (1, 1)),
        "quantity" => quantity(found, wanted),
        "reference" => reference(found.as_str().unwrap_or_default(), wanted),
        "uri" => uri(modifier, found.as_str().unwrap_or_default(), wanted),
        other => panic!("no comparison {other}"),
    }
}

/// search.html#token: `code`, `system|code`, `|code`, `system|`; case does not matter.
fn token(system: Option<&str>, code: Option<&str>, wanted: &str) -> bool {
    let same = |wanted: &str| code.is_some_and(|code| code.to_lowercase() == wanted.to_lowercase());
    match wanted.split_once('|') {
        None => same(wanted),
        Some(("", wanted)) => system.is_none() && same(wanted),
        Some((of, "")) => system == Some(of),
        Some((of, wanted)) => system == Some(of) && same(wanted),
    }
}

/// search.html#string: begins with, without case and accents; `:exact`, `:contains`.
fn string(modifier: &str, found: &str, wanted: &str) -> bool {
    let plain = |text: &str| {
        let letters = text.chars().flat_map(char::to_lowercase).map(|c| match c {
            'é' | 'è' => 'e',
            'ü' => 'u',
            'ø' => 'o',
            c => c,
        });
        letters.collect::<String>()
    };
    match modifier {
        "exact" => found == wanted,
        "contains" => plain(found).contains(&plain(wanted)),
        _ => plain(found).starts_with(&plain(wanted)),
    }
}

/// Milliseconds since 1970 of the first and the last instant of a date, by counting
/// days.
fn instant(text: &str) -> Option<(i128, i128)> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i128>().ok();
    let year = number(0, 4)?;
    let leap = |y: i128| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    let lengths =
        |y: i128| [31, if leap(y) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let day_of = |y: i128, month: i128, day: i128| {
        let days = |years: std::ops::Range<i128>| -> i128 {
            years.map(|y| if leap(y) { 366 } else { 365 }).sum()
        };
        let years = if y < 1970 { -days(y..1970) } else { days(1970..y) };
        let months: i128 = lengths(y)[..month as usize - 1].iter().sum();
        years + months + day - 1
    };
    let day_ms = 86_400_000;
    let (first, length) = match text.len() {
        4 => (day_of(year, 1, 1), if leap(year) { 366 } else { 365 }),
        7 => (day_of(year, number(5, 7)?, 1), lengths(year)[number(5, 7)? as usize - 1]),
        _ => (day_of(year, number(5, 7)?, number(8, 10)?), 1),
    };
    if text.len() <= 10 {
        return Some((first * day_ms, (first + length) * day_ms - 1));
    }
    let at = first * day_ms + (number(11, 13)? * 60 + number(14, 16)?) * 60_000;
    let second = number(17, 19)?;
    Some((at + second * 1000, at + second * 1000 + 999))
}

/// search.html#prefix over ranges: what is found lies in `from..=to`.
fn ordered(wanted: &str, from: i128, to: i128) -> bool {
    let (prefix, rest) = match wanted.get(..2) {
        Some(two) if two.bytes().all(|b| b.is_ascii_lowercase()) => (two, &wanted[2..]),
        _ => ("eq", wanted),
    };
    let Some((low, high)) = instant(rest) else { panic!("a date: {wanted}") };
    let equal = low <= from && to <= high;
    match prefix {
        "eq" => equal,
        "ne" => !equal,
        // The range above the parameter intersects with what is found.
        "gt" => to > high,
        "lt" => from < low,
        "ge" => to > high || equal,
        "le" => from < low || equal,
        "sa" => from > high,
        "eb" => to < low,
        "ap" => from <= high && low <= to,
        other => panic!("no prefix {other}"),
    }
}

/// A decimal as a whole number of 10^-12.
fn fixed(text: &str) -> i128 {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i128 = whole.parse().unwrap();
    let padded: i128 = format!("{fraction:0<12}").parse().unwrap();
    sign * (whole * 1_000_000_000_000 + padded)
}

/// search.html#number and #quantity; `scale` brings the parameter and what is found to
/// one unit.
fn amount(wanted: &str, found: &str, comparator: Option<&str>, scale: (i128, i128)) -> bool {
    let (prefix, rest) = match wanted.get(..2) {
        Some(two) if two.bytes().all(|b| b.is_ascii_lowercase()) => (two, &wanted[2..]),
        _ => ("eq", wanted),
    };
    let exact = fixed(rest) * scale.0;
    let digits = rest.split_once('.').map_or(0, |(_, fraction)| fraction.len()) as u32;
    let half = 10_i128.pow(12 - digits) / 2 * scale.0;
    let found = fixed(found) * scale.1;
    let (low, high, open) = match comparator {
        Some("<") => (None, Some(found), true),
        Some("<=") => (None, Some(found), false),
        Some(">") => (Some(found), None, true),
        Some(">=") => (Some(found), None, false),
        _ => (Some(found), Some(found), false),
    };
    let equal =
        low.is_some_and(|low| low >= exact - half) && high.is_some_and(|high| high < exact + half);
    let above = high.is_none_or(|high| high > exact);
    let below = low.is_none_or(|low| low < exact);
    let reaches = |end: Option<i128>| !open && end == Some(exact);
    match prefix {
        "eq" => equal,
        "ne" => !equal,
        "gt" => above,
        "lt" => below,
        "ge" => above || reaches(high),
        "le" => below || reaches(low),
        "sa" => low.is_some_and(|low| low > exact || (open && low == exact)),
        "eb" => high.is_some_and(|high| high < exact || (open && high == exact)),
        "ap" => {
            let tenth = exact.abs() / 10;
            high.is_none_or(|high| high >= exact - tenth)
                && low.is_none_or(|low| low <= exact + tenth)
        }
        other => panic!("no prefix {other}"),
    }
}

/// search.html#quantity: `number`, `number|system|code`, `number||code`. Milligrams are
/// a thousandth of grams, whatever either is called.
fn quantity(found: &Value, wanted: &str) -> bool {
    let parts: Vec<&str> = wanted.split('|').collect();
    let number = found["value"].to_string();
    let comparator = found["comparator"].as_str();
    let plain = |scale| amount(parts[0], &number, comparator, scale);
    let [_, system, code] = parts.as_slice() else { return plain((1, 1)) };
    let has = |name: &str| found[name].as_str();
    if system.is_empty() {
        return (code.is_empty() || has("code") == Some(code) || has("unit") == Some(code))
            && plain((1, 1));
    }
    if has("system") != Some(system) {
        return false;
    }
    match (*code, has("code")) {
        ("", _) => plain((1, 1)),
        (wanted, Some(found)) if wanted == found => plain((1, 1)),
        ("mg", Some("g")) if *system == "http://unitsofmeasure.org" => plain((1, 1000)),
        ("g", Some("mg")) if *system == "http://unitsofmeasure.org" => plain((1000, 1)),
        _ => false,
    }
}

/// search.html#reference: `id`, `Type/id`.
fn reference(found: &str, wanted: &str) -> bool {
    found == wanted || (!wanted.contains('/') && found.split('/').next_back() == Some(wanted))
}

/// search.html#uri, `:below` and `:above` by segments.
fn uri(modifier: &str, found: &str, wanted: &str) -> bool {
    // A slash at the end names the same place.
    let under = |upper: &str, lower: &str| {
        let upper = upper.strip_suffix('/').unwrap_or(upper);
        lower == upper || lower.starts_with(&format!("{upper}/"))
    };
    match modifier {
        "below" => under(wanted, found),
        "above" => under(found, wanted),
        _ => found == wanted,
    }
}
