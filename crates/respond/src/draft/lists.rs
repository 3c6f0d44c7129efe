//! The lists of a draft: persons for the client, deadlines, the index.

use std::fmt::Write as _;

use holdfast_base::ElementClass;

use super::{
    Case, Client, Matter,
    letter::{MONITORING_BLANK, addressee},
    plural,
};
use crate::{
    calendar::{day_of, long},
    csv_out::Table,
    duties::Duty,
    incident::Status,
    law::NEEDS_REVIEW,
    pdf::{Fonts, fits_window},
    render::align,
};

/// Every affected record of one client: what 45 CFR 164.410(c)(1) asks for.
pub(super) fn persons_csv(client: &Client<'_>) -> String {
    let mut table = Table::new(&[
        "patient",
        "person",
        "name",
        "address",
        "city",
        "state",
        "zip",
        "information-involved",
        "information-returned",
        "first-access",
        "last-access",
        "letter",
    ]);
    for Case { row, person, letter } in &client.cases {
        let text = |f: fn(&crate::AffectedPerson) -> String| person.map(f).unwrap_or_default();
        table.row(&[
            row.patient.to_string(),
            row.person.map(|person| person.to_string()).unwrap_or_default(),
            text(|p| p.name.expose().clone()),
            text(|p| p.address.expose().join(", ")),
            text(|p| p.city.expose().clone()),
            person
                .and_then(|p| p.state.clone())
                .or_else(|| row.residence.clone())
                .unwrap_or_default(),
            text(|p| p.zip.expose().clone()),
            person.map_or(row.released, |p| p.classes).to_string(),
            row.returned.to_string(),
            row.first.to_string(),
            row.last.to_string(),
            letter.clone().unwrap_or_else(|| "none: no complete address".to_owned()),
        ]);
    }
    table.finish()
}

/// Every duty, one line each.
pub(super) fn deadlines_csv(matter: &Matter<'_>) -> String {
    let mut table = Table::new(&[
        "due",
        "jurisdiction",
        "organization",
        "who",
        "recipient",
        "persons",
        "citation",
        "certainty",
        "state",
        "note",
    ]);
    for duty in &matter.duties {
        table.row(&[
            duty.due_text(),
            duty.jurisdiction.clone(),
            duty.organization.to_string(),
            duty.who.as_str().to_owned(),
            duty.recipient.clone(),
            duty.count.to_string(),
            duty.why.clone(),
            duty.certainty.as_str().to_owned(),
            duty.state().to_owned(),
            duty.note.clone(),
        ]);
    }
    table.finish()
}

/// Every duty, for people: by last day, with the notes.
pub(super) fn deadlines_text(matter: &Matter<'_>) -> String {
    let incident = matter.incident;
    let mut out = String::new();
    let _ = writeln!(out, "Deadlines of incident {}", incident.reference());
    let _ = writeln!(
        out,
        "Discovered {}, counted from {}.",
        incident.discovered,
        day_of(incident.discovered)
    );
    out.push_str(
        "Days are counted from the day it then was in Hawaii, the westernmost state, so none is \
         late anywhere.\nBusiness days skip Saturdays and Sundays; holidays are counted as \
         business days, so such a deadline can be early and never late.\nNothing here has been \
         sent. Not legal advice.\n",
    );
    let mut last: Option<String> = None;
    for duty in &matter.duties {
        let due = due_line(matter, duty);
        if last.as_ref() != Some(&due) {
            let _ = write!(out, "\n{due}\n");
            last = Some(due);
        }
        let _ = writeln!(
            out,
            "  [{}] {} / {}: {} ({}), {}",
            duty.state(),
            duty.jurisdiction,
            duty.organization,
            duty.recipient,
            plural(duty.count, "person"),
            duty.why
        );
        wrap(&mut out, &duty.note, "      ", 92);
    }
    out.push_str("\nLaws in the data:\n");
    for law in &matter.law.jurisdiction {
        let _ = writeln!(out, "  {:<9} {}, {}", law.code, law.name, law.statute);
    }
    out
}

fn due_line(matter: &Matter<'_>, duty: &Duty) -> String {
    let Some(due) = duty.due else {
        return "Without unreasonable delay (the law gives no number of days that applies)"
            .to_owned();
    };
    let left = (due - day_of(matter.letterhead.date)).get_days();
    match left {
        0 => format!("{} (the day of this draft)", long(due)),
        1.. => format!("{} ({left} days after this draft)", long(due)),
        _ => format!("{} (PASSED {} days before this draft)", long(due), -left),
    }
}

/// What is here, what is missing, what counsel has to settle.
pub(super) fn index_text(matter: &Matter<'_>, fonts: &Fonts) -> String {
    let incident = matter.incident;
    let totals = &matter.scope.totals;
    let mut out = String::new();
    let review = matter.duties.iter().any(Duty::needs_review);
    let mark = if review { "DRAFT - counsel's review needed" } else { "DRAFT" };
    let _ = writeln!(out, "{mark}");
    let _ = writeln!(
        out,
        "Incident {}: {}, {}, {}",
        incident.reference(),
        plural(totals.persons, "person"),
        plural(totals.patients, "patient record"),
        plural(totals.organizations.len() as u64, "organization")
    );
    if let Some(frozen) = &incident.scope {
        let _ = writeln!(
            out,
            "Scope frozen at ledger size {}, root {}",
            frozen.ledger_size, frozen.ledger_root
        );
    }
    out.push_str("Nothing here has been sent. Files under clients/ and letters/ hold health information.\n\n");

    let mut rows = vec![
        ["ORGANIZATION", "PERSONS", "RECORDS", "LETTERS", "WITHOUT ADDRESS"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (id, client) in &matter.clients {
        let count = totals.organizations.get(*id).copied().unwrap_or_default();
        let letters = client.cases.iter().filter(|case| case.letter.is_some()).count();
        rows.push(vec![
            id.to_string(),
            count.persons.to_string(),
            count.patients.to_string(),
            letters.to_string(),
            (client.cases.len() - letters).to_string(),
        ]);
    }
    align(&mut out, &rows);

    out.push_str("\nBefore anything is sent\n");
    let mut points = open_points(matter, fonts);
    points.dedup();
    for point in points {
        hang(&mut out, &point);
    }
    out
}

/// Everything a person has to do or settle, most general first.
fn open_points(matter: &Matter<'_>, fonts: &Fonts) -> Vec<String> {
    let mut points = vec![
        "Record the four-factor risk assessment, 45 CFR 164.402(2); without it a breach is presumed.".to_owned(),
    ];
    let mut review: Vec<String> = Vec::new();
    for duty in matter.duties.iter().filter(|duty| duty.needs_review()) {
        for point in &duty.review {
            let line = format!("{}: {point} ({NEEDS_REVIEW})", duty.jurisdiction);
            if !review.contains(&line) {
                review.push(line);
            }
        }
    }
    points.extend(review);
    points.extend(letter_points(matter, fonts));
    for (id, client) in &matter.clients {
        let unreachable = client.cases.iter().filter(|case| case.letter.is_none()).count();
        if unreachable > 0 {
            let how = if unreachable >= 10 {
                "a posting on the web site for 90 days or major media, with a toll-free number, 45 CFR 164.404(d)(2)(ii)"
            } else {
                "telephone or another written notice, 45 CFR 164.404(d)(2)(i)"
            };
            points.push(format!(
                "{id}: {} without complete address; substitute notice is owed: {how}.",
                plural(unreachable as u64, "record")
            ));
        }
    }
    points
}

/// What is missing or doubtful in the letters.
fn letter_points(matter: &Matter<'_>, fonts: &Fonts) -> Vec<String> {
    let mut points = Vec::new();
    if matter.incident.status < Status::Contained {
        points.push(
            "The incident is not contained; the letters say that it is being worked on.".to_owned(),
        );
    }
    let letters = || {
        matter
            .clients
            .values()
            .flat_map(|client| &client.cases)
            .filter_map(|case| Some((case.person?, case.letter.as_ref()?)))
    };
    let owed = letters().filter(|(person, _)| {
        let state = person.state.as_deref().unwrap_or_default().to_ascii_uppercase();
        person.classes.contains(ElementClass::GovernmentId)
            && matter.law.monitoring(&state).is_some()
    });
    let owed = owed.count();
    if owed > 0 && matter.letterhead.monitoring.is_none() {
        points.push(format!(
            "{owed} letters must offer credit monitoring and no provider is given: each has the \
             blank {MONITORING_BLANK}."
        ));
    }
    let telephone = |client: &Client<'_>| {
        matter.letterhead.contact.telephone.is_some()
            || client.organization.contact.telephone.is_some()
    };
    for (id, _) in matter.clients.iter().filter(|(_, client)| !telephone(client)) {
        points.push(format!("{id}: no telephone number for questions is given."));
    }
    if matter
        .law
        .bureau
        .iter()
        .chain(&matter.law.agency)
        .any(|office| office.certainty.needs_review())
    {
        points.push(
            "Addresses and telephone numbers of credit bureaus and authorities in the letters are \
             not verified; compare them with the offices' own pages before printing."
                .to_owned(),
        );
    }
    for rule in matter.law.monitoring.iter().filter(|rule| rule.certainty.needs_review()) {
        points
            .push(format!("{}: credit monitoring, {}: {NEEDS_REVIEW}.", rule.state, rule.citation));
    }
    for (person, path) in letters() {
        let lines = person.address.expose().iter();
        let texts = lines.chain([person.name.expose(), person.city.expose()]);
        if !texts.into_iter().all(|text| fonts.covers(text)) {
            points.push(format!(
                "{path}: name or address has characters that the letter's typeface lacks; they \
                 are printed as question marks."
            ));
        }
        if !fits_window(fonts, &addressee(person)) {
            points.push(format!(
                "{path}: the address is too wide or too long for a number 10 window envelope."
            ));
        }
    }
    points
}

/// Writes `text` as an item of a list.
fn hang(out: &mut String, text: &str) {
    let mut item = String::new();
    wrap(&mut item, text, "    ", 90);
    item.replace_range(..4, "  - ");
    out.push_str(&item);
}

/// Writes `text` in lines of at most `width` characters, each after `indent`.
fn wrap(out: &mut String, text: &str, indent: &str, width: usize) {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            let _ = writeln!(out, "{indent}{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        let _ = writeln!(out, "{indent}{line}");
    }
}
