//! Where a patient lives: the question that breach law asks first.

use serde_json::Value;

/// USPS codes of the states, the district and the territories.
const STATES: &[(&str, &str)] = &[
    ("AL", "alabama"),
    ("AK", "alaska"),
    ("AZ", "arizona"),
    ("AR", "arkansas"),
    ("CA", "california"),
    ("CO", "colorado"),
    ("CT", "connecticut"),
    ("DE", "delaware"),
    ("DC", "district of columbia"),
    ("FL", "florida"),
    ("GA", "georgia"),
    ("HI", "hawaii"),
    ("ID", "idaho"),
    ("IL", "illinois"),
    ("IN", "indiana"),
    ("IA", "iowa"),
    ("KS", "kansas"),
    ("KY", "kentucky"),
    ("LA", "louisiana"),
    ("ME", "maine"),
    ("MD", "maryland"),
    ("MA", "massachusetts"),
    ("MI", "michigan"),
    ("MN", "minnesota"),
    ("MS", "mississippi"),
    ("MO", "missouri"),
    ("MT", "montana"),
    ("NE", "nebraska"),
    ("NV", "nevada"),
    ("NH", "new hampshire"),
    ("NJ", "new jersey"),
    ("NM", "new mexico"),
    ("NY", "new york"),
    ("NC", "north carolina"),
    ("ND", "north dakota"),
    ("OH", "ohio"),
    ("OK", "oklahoma"),
    ("OR", "oregon"),
    ("PA", "pennsylvania"),
    ("RI", "rhode island"),
    ("SC", "south carolina"),
    ("SD", "south dakota"),
    ("TN", "tennessee"),
    ("TX", "texas"),
    ("UT", "utah"),
    ("VT", "vermont"),
    ("VA", "virginia"),
    ("WA", "washington"),
    ("WV", "west virginia"),
    ("WI", "wisconsin"),
    ("WY", "wyoming"),
    ("AS", "american samoa"),
    ("GU", "guam"),
    ("MP", "northern mariana islands"),
    ("PR", "puerto rico"),
    ("VI", "virgin islands"),
];

/// ISO 3166 alpha-2 codes that read as a US state, with the alpha-3 code that does not.
const MISTAKABLE: [(&str, &str); 26] = [
    ("AL", "ALB"),
    ("AR", "ARG"),
    ("AZ", "AZE"),
    ("CA", "CAN"),
    ("CO", "COL"),
    ("DE", "DEU"),
    ("GA", "GAB"),
    ("ID", "IDN"),
    ("IL", "ISR"),
    ("IN", "IND"),
    ("KY", "CYM"),
    ("LA", "LAO"),
    ("MA", "MAR"),
    ("MD", "MDA"),
    ("ME", "MNE"),
    ("MN", "MNG"),
    ("MO", "MAC"),
    ("MS", "MSR"),
    ("MT", "MLT"),
    ("NC", "NCL"),
    ("NE", "NER"),
    ("PA", "PAN"),
    ("SC", "SYC"),
    ("SD", "SDN"),
    ("TN", "TUN"),
    ("VA", "VAT"),
];

/// The place of residence from the current home address: the USPS code of a US
/// state or territory (`IN`), else the ISO 3166 code of the country (alpha-3 where
/// alpha-2 would read as a state: `IND`). `None` when no current address says.
///
/// Old and temporary addresses never count; without a `home` address any other
/// current one does, and a billing address comes last.
pub fn residence(patient: &Value) -> Option<String> {
    let mut current: Vec<&Value> = patient["address"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|address| address["use"] != "old" && address["use"] != "temp")
        .filter(|address| address["period"]["end"].is_null())
        .collect();
    current.sort_by_key(|address| match address["use"].as_str() {
        Some("home") => 0,
        None => 1,
        Some("billing") => 3,
        Some(_) => 2,
    });
    current.into_iter().find_map(place)
}

fn place(address: &Value) -> Option<String> {
    let country = address["country"].as_str().map(|text| text.trim().to_ascii_uppercase());
    let country = country.filter(|text| !text.is_empty());
    let in_us = match country.as_deref() {
        None
        | Some(
            "US" | "USA" | "U.S." | "U.S.A." | "UNITED STATES" | "UNITED STATES OF AMERICA" | "840",
        ) => true,
        Some(territory) => STATES[51..].iter().any(|(code, _)| *code == territory),
    };
    if !in_us {
        let code = country.filter(|code| (2..=3).contains(&code.len()))?;
        let clear = MISTAKABLE.iter().find(|(short, _)| *short == code);
        return Some(clear.map_or(code, |(_, long)| (*long).to_owned()));
    }
    let state = address["state"].as_str().and_then(state_code);
    state.or_else(|| country.as_deref().and_then(state_code)).map(str::to_owned)
}

fn state_code(text: &str) -> Option<&'static str> {
    let text = text.trim().trim_start_matches("US-");
    let same = |(code, name): &&(&str, &str)| {
        code.eq_ignore_ascii_case(text) || name.eq_ignore_ascii_case(text)
    };
    STATES.iter().find(same).map(|(code, _)| *code)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_current_home_address_decides() {
        for (addresses, expected) in [
            (json!([{"use": "old", "state": "OH"}, {"use": "home", "state": "IN"}]), Some("IN")),
            (
                json!([{"use": "work", "state": "IL"}, {"use": "home", "state": "california"}]),
                Some("CA"),
            ),
            (
                json!([{"use": "home", "state": "OH", "period": {"end": "2014"}}, {"state": "MA"}]),
                Some("MA"),
            ),
            (json!([{"use": "home", "state": "ON", "country": "CA"}]), Some("CAN")),
            (json!([{"use": "home", "state": "Bayern", "country": "DEU"}]), Some("DEU")),
            (json!([{"country": "PR"}]), Some("PR")),
            (json!([{"state": "US-TX", "country": "USA"}]), Some("TX")),
            (json!([{"city": "Nowhere"}]), None),
            (json!([]), None),
        ] {
            let patient = json!({"resourceType": "Patient", "address": addresses});
            assert_eq!(residence(&patient).as_deref(), expected, "{addresses}");
        }
    }
}
