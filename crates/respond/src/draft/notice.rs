//! The notice of the exchange, as business associate, to a covered entity.
//! 45 CFR 164.410; the persons themselves stand in `persons.csv`.

use std::collections::BTreeMap;

use holdfast_base::{ElementClass, OrganizationId};

use super::{Client, Matter, plural};
use crate::{
    calendar::{day_of, long},
    document::{Block, Document, Sender, Table},
    duties::Duty,
    incident::Status,
    scope::{RESIDENCE_UNKNOWN, ScopeRow, count},
};

/// The notice to one client.
pub(super) fn compose(matter: &Matter<'_>, id: &OrganizationId, client: &Client<'_>) -> Document {
    let letterhead = matter.letterhead;
    let organization = client.organization;
    let mut details = letterhead.exchange_address.clone();
    details.extend(letterhead.contact.telephone.clone());
    details.extend(letterhead.contact.web.clone());
    let mut addressee = vec![organization.name.clone()];
    addressee.extend(organization.signatory.clone());
    addressee.extend(organization.address.iter().cloned());
    Document {
        about: "Notice of a Breach of Protected Health Information".to_owned(),
        sender: Sender { name: letterhead.exchange.clone(), details, on_behalf: String::new() },
        addressee,
        date: long(letterhead.date.date()),
        reference: matter.incident.reference(),
        blocks: blocks(matter, id, client),
    }
}

fn blocks(matter: &Matter<'_>, id: &OrganizationId, client: &Client<'_>) -> Vec<Block> {
    let heading = |text: &str| Block::Heading(text.to_owned());
    let rows: Vec<&ScopeRow> = client.cases.iter().map(|case| case.row).collect();
    let total = count(rows.iter().copied());
    let letters = client.cases.iter().filter(|case| case.letter.is_some()).count();
    let mut blocks = vec![
        Block::Title("Notice of a Breach of Protected Health Information".to_owned()),
        Block::Paragraph(format!(
            "{}, as your business associate, gives you this notice under 45 CFR 164.410. It \
             concerns {} and {} that you keep on the exchange.",
            matter.letterhead.exchange,
            plural(total.persons, "person"),
            plural(total.patients, "patient record"),
        )),
        heading("What happened"),
        Block::Paragraph(what_happened(matter, &rows)),
        heading("What information was involved"),
        Block::Paragraph(
            "“Could have been seen” counts persons whose keys for that class were released during \
             the acts in question: the upper bound. “Was returned” counts those of whom the log \
             shows that content of that class left the exchange."
                .to_owned(),
        ),
        Block::Table(classes(&rows)),
        heading("Where the persons live"),
        Block::Table(states(&rows)),
        heading("Your duties, and when they fall due"),
        Block::Paragraph(
            "Computed from the facts above, for your counsel to confirm; this is not legal advice. \
             An asterisk marks what needs counsel's review; the points that are open stand below."
                .to_owned(),
        ),
        Block::Table(duties(matter, id)),
        Block::Bullets(review(matter, id)),
        heading("What is enclosed"),
        Block::Paragraph(format!(
            "The file persons.csv names each individual, with the classes of information involved \
             and the times of access. Letters to individuals are drafted for {}, and are not sent \
             until you approve them.",
            plural(letters as u64, "record"),
        )),
    ];
    if letters < client.cases.len() {
        blocks.push(Block::Paragraph(format!(
            "For {} no complete address is on file; for them, substitute notice is owed, 45 CFR \
             164.404(d)(2).",
            plural((client.cases.len() - letters) as u64, "record"),
        )));
    }
    if let Some(frozen) = &matter.incident.scope {
        blocks.push(heading("How this can be checked"));
        blocks.push(Block::Paragraph(format!(
            "The scope was frozen on {} from {} of the exchange's tamper-evident log, whose root \
             hash was then {}. An evidence bundle that verifies offline is available on request.",
            long(frozen.at.date()),
            plural(frozen.ledger_size, "entry"),
            grouped(&frozen.ledger_root),
        )));
    }
    blocks.push(heading("How to reach us"));
    blocks.push(Block::Paragraph(reach(matter)));
    let mut signature: Vec<String> = matter.letterhead.signatory.iter().cloned().collect();
    signature.push(matter.letterhead.exchange.clone());
    blocks.push(Block::Signature("Sincerely,".to_owned(), signature));
    blocks
}

fn what_happened(matter: &Matter<'_>, rows: &[&ScopeRow]) -> String {
    let incident = matter.incident;
    let discovered = long(incident.discovered.date());
    let mut text = match &matter.letterhead.what_happened {
        Some(account) => format!("{account} The breach was discovered on {discovered}."),
        None => format!(
            "On {discovered}, we discovered that the account {} had been used to open patients' \
             records without a reason that we could confirm.",
            incident.principal
        ),
    };
    let first = rows.iter().map(|row| row.first).min();
    let last = rows.iter().map(|row| row.last).max();
    if let (Some(first), Some(last)) = (first, last) {
        let (first, last) = (long(first.date()), long(last.date()));
        if first == last {
            text.push_str(&format!(" Your records were opened on {first} (UTC)."));
        } else {
            text.push_str(&format!(" Your records were opened between {first} and {last} (UTC)."));
        }
    }
    if incident.status >= Status::Contained {
        text.push_str(" The account is suspended.");
    }
    // Summaries and counts of findings may speak of other clients' patients.
    if let Some(finding) = incident.findings.first() {
        text.push_str(&format!(
            " It came to light through {} on {}.",
            if finding.detector == "person" {
                "a person's report".to_owned()
            } else {
                format!("the exchange's own watch ({})", finding.detector)
            },
            long(finding.at.date())
        ));
    }
    text
}

fn classes(rows: &[&ScopeRow]) -> Table {
    let number = |class: ElementClass, of: fn(&ScopeRow) -> holdfast_base::ClassSet| {
        count(rows.iter().copied().filter(|row| of(row).contains(class))).persons.to_string()
    };
    Table {
        head: ["Class of information", "Could have been seen", "Was returned"]
            .map(str::to_owned)
            .to_vec(),
        rows: ElementClass::ALL
            .into_iter()
            .map(|class| {
                vec![
                    class_name(class).to_owned(),
                    number(class, |row| row.released),
                    number(class, |row| row.returned),
                ]
            })
            .collect(),
        widths: vec![0.56, 0.24, 0.20],
        numeric: vec![false, true, true],
    }
}

fn class_name(class: ElementClass) -> &'static str {
    match class {
        ElementClass::Identity => "Identity (name, address, birth date, contacts)",
        ElementClass::GovernmentId => "Government numbers (Social Security and others)",
        ElementClass::Clinical => "Clinical data",
        ElementClass::Document => "Reports and documents",
        ElementClass::Restricted => "Specially protected information",
    }
}

fn states(rows: &[&ScopeRow]) -> Table {
    let mut states: BTreeMap<&str, Vec<&ScopeRow>> = BTreeMap::new();
    for row in rows {
        states.entry(row.residence.as_deref().unwrap_or(RESIDENCE_UNKNOWN)).or_default().push(row);
    }
    Table {
        head: ["State of residence", "Persons", "Records"].map(str::to_owned).to_vec(),
        rows: states
            .into_iter()
            .map(|(state, rows)| {
                let count = count(rows);
                vec![
                    state_name(state).to_owned(),
                    count.persons.to_string(),
                    count.patients.to_string(),
                ]
            })
            .collect(),
        widths: vec![0.56, 0.24, 0.20],
        numeric: vec![false, true, true],
    }
}

fn duties(matter: &Matter<'_>, id: &OrganizationId) -> Table {
    let row = |duty: &Duty| {
        let mark = if duty.needs_review() { " *" } else { "" };
        let due = match duty.due {
            Some(due) => due.strftime("%b %-d, %Y").to_string(),
            None => "without delay".to_owned(),
        };
        vec![
            format!("{due}{mark}"),
            duty.jurisdiction.clone(),
            duty.recipient.clone(),
            duty.count.to_string(),
            duty.why.clone(),
        ]
    };
    Table {
        head: ["Last day", "Law", "Who is to be told", "Persons", "Rule"]
            .map(str::to_owned)
            .to_vec(),
        rows: own_duties(matter, id).map(row).collect(),
        widths: vec![0.172, 0.13, 0.361, 0.105, 0.232],
        numeric: vec![false, false, false, true, false],
    }
}

/// What is open about the duties of this client, each point once.
fn review(matter: &Matter<'_>, id: &OrganizationId) -> Vec<(String, String)> {
    let mut points = Vec::new();
    for duty in own_duties(matter, id) {
        for point in &duty.review {
            let point = (format!("{}:", duty.jurisdiction), format!("{point}."));
            if !points.contains(&point) {
                points.push(point);
            }
        }
    }
    points
}

/// The duties of the client itself; the exchange's duty is this notice.
fn own_duties<'a>(matter: &'a Matter<'_>, id: &OrganizationId) -> impl Iterator<Item = &'a Duty> {
    let id = id.clone();
    matter
        .duties
        .iter()
        .filter(move |duty| duty.organization == id && duty.who != crate::Who::Client)
}

fn reach(matter: &Matter<'_>) -> String {
    let contact = &matter.letterhead.contact;
    let mut ways = Vec::new();
    if let Some(telephone) = &contact.telephone {
        ways.push(match &contact.hours {
            Some(hours) => format!("call {telephone} ({hours})"),
            None => format!("call {telephone}"),
        });
    }
    ways.extend(contact.email.iter().map(|email| format!("write to {email}")));
    let ways =
        if ways.is_empty() { "write to the address above".to_owned() } else { ways.join(" or ") };
    format!(
        "With questions, {ways}, and quote {}. Days are counted from {}.",
        matter.incident.reference(),
        long(day_of(matter.incident.discovered))
    )
}

/// Hex in groups of eight, so that lines can break in it.
fn grouped(hex: &str) -> String {
    let chars: Vec<char> = hex.chars().collect();
    chars.chunks(8).map(|chunk| chunk.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}

/// The state's name, or `code` itself for what is no state.
fn state_name(code: &str) -> &str {
    match code {
        "AL" => "Alabama",
        "AK" => "Alaska",
        "AZ" => "Arizona",
        "AR" => "Arkansas",
        "CA" => "California",
        "CO" => "Colorado",
        "CT" => "Connecticut",
        "DE" => "Delaware",
        "DC" => "District of Columbia",
        "FL" => "Florida",
        "GA" => "Georgia",
        "HI" => "Hawaii",
        "ID" => "Idaho",
        "IL" => "Illinois",
        "IN" => "Indiana",
        "IA" => "Iowa",
        "KS" => "Kansas",
        "KY" => "Kentucky",
        "LA" => "Louisiana",
        "ME" => "Maine",
        "MD" => "Maryland",
        "MA" => "Massachusetts",
        "MI" => "Michigan",
        "MN" => "Minnesota",
        "MS" => "Mississippi",
        "MO" => "Missouri",
        "MT" => "Montana",
        "NE" => "Nebraska",
        "NV" => "Nevada",
        "NH" => "New Hampshire",
        "NJ" => "New Jersey",
        "NM" => "New Mexico",
        "NY" => "New York",
        "NC" => "North Carolina",
        "ND" => "North Dakota",
        "OH" => "Ohio",
        "OK" => "Oklahoma",
        "OR" => "Oregon",
        "PA" => "Pennsylvania",
        "PR" => "Puerto Rico",
        "RI" => "Rhode Island",
        "SC" => "South Carolina",
        "SD" => "South Dakota",
        "TN" => "Tennessee",
        "TX" => "Texas",
        "UT" => "Utah",
        "VT" => "Vermont",
        "VA" => "Virginia",
        "WA" => "Washington",
        "WV" => "West Virginia",
        "WI" => "Wisconsin",
        "WY" => "Wyoming",
        RESIDENCE_UNKNOWN => "not known",
        other => other,
    }
}
