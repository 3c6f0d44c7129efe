//! What drafts say, checked on the composed text, before layout.

use holdfast_base::{ClassSet, ElementClass};

use super::{Matter, assemble, draft, letter, lists, notice};
use crate::{
    Addressee, DraftError, Law, Status,
    community::{Community, community, organization, patient},
    document::Document,
    duties::duties_for,
    pdf::Fonts,
};

fn matter(made: &Community) -> Matter<'_> {
    let law = Law::built_in();
    Matter {
        incident: &made.incident,
        scope: &made.scope,
        letterhead: &made.letterhead,
        law,
        duties: duties_for(&made.scope, made.incident.discovered, law, &made.organizations),
        clients: assemble(&made.scope, &made.persons, &made.organizations).expect("it fits"),
    }
}

/// The letter to the person with this family name.
fn letter_to(made: &Community, family: &str) -> Document {
    let matter = matter(made);
    for client in matter.clients.values() {
        for case in &client.cases {
            if let Some(person) = case.person.filter(|p| p.name.expose().contains(family)) {
                return letter::compose(&matter, client.organization, case.row, person);
            }
        }
    }
    panic!("nobody of this name");
}

fn check(family: &str, says: &[&str], says_not: &[&str]) {
    let text = letter_to(&community(), family).text();
    for words in says {
        assert!(text.contains(words), "{family}: misses {words:?} in\n{text}");
    }
    for words in says_not {
        assert!(!text.contains(words), "{family}: must not say {words:?} in\n{text}");
    }
}

/// 45 CFR 164.404(c)(1)(A) to (E).
const HIPAA_ELEMENTS: [&str; 6] = [
    "an account on its system had been used",
    "Your record was opened on or about June",
    "On June 16, 2026",
    "Read your statements.",
    "has suspended the account",
    "call 1-800-555-0199",
];

#[test]
fn an_ohio_letter_has_the_five_hipaa_elements_and_no_state_law() {
    check("Lindqvist", &HIPAA_ELEMENTS, &["Indiana Attorney General", "Notice of Data Breach"]);
    check(
        "Lindqvist",
        &["Medical information:", "Federal Trade Commission", "your state's attorney general"],
        &["Equifax", "credit monitoring", "Medical reports:", "Government numbers:"],
    );
}

#[test]
fn an_indiana_letter_adds_the_attorney_general() {
    check("Pennington", &HIPAA_ELEMENTS, &["Notice of Data Breach"]);
    check(
        "Pennington",
        &["Indiana Attorney General", "Equifax", "Experian", "TransUnion", "Government numbers:"],
        &["credit monitoring", "Massachusetts", "California"],
    );
}

#[test]
fn a_california_letter_has_the_title_and_the_five_headings_in_order() {
    let document = letter_to(&community(), "Vega-Ortiz");
    assert_eq!(document.about, "Notice of Data Breach");
    assert_eq!(
        document.headings(),
        [
            "What Happened",
            "What Information Was Involved",
            "What We Are Doing",
            "What You Can Do",
            "For More Information",
        ]
    );
    check("Vega-Ortiz", &HIPAA_ELEMENTS, &[]);
    check(
        "Vega-Ortiz",
        &[
            "Notice of Data Breach",
            "12 months of credit monitoring",
            "1-888-298-0045",
            "was not delayed by a law enforcement investigation",
            "California Attorney General",
        ],
        &["18 months"],
    );
}

#[test]
fn a_california_letter_says_that_law_enforcement_delayed_it() {
    let mut made = community();
    made.letterhead.delayed_by_law_enforcement = true;
    let text = letter_to(&made, "Vega-Ortiz").text();
    assert!(text.contains("was delayed because of a law enforcement investigation"));
}

#[test]
fn a_massachusetts_letter_says_what_it_must_and_not_what_it_must_not() {
    check(
        "Brennan",
        &[
            "you have the right to obtain any police report",
            "There is no charge to place, lift or remove a freeze",
            "18 months of credit monitoring",
            "Lakeside Family Practice is owned by Three Rivers Health Partners, LLC",
            "P.O. Box 105788",
            "P.O. Box 9554",
            "P.O. Box 160",
            "June 16, 2026",
            "Massachusetts Attorney General",
        ],
        // Nature of the breach, number of residents.
        &[
            "What Happened",
            "What happened",
            "account on its system",
            "had been used",
            "was opened",
            "suspended",
            "without a reason",
            "persons",
            "residents",
            "12 months",
        ],
    );
}

#[test]
fn an_account_of_what_happened_never_reaches_massachusetts() {
    let mut made = community();
    made.letterhead.what_happened = Some("Somebody phished a password.".to_owned());
    assert!(!letter_to(&made, "Brennan").text().contains("phished"));
    assert!(letter_to(&made, "Vega-Ortiz").text().contains("phished"));
    assert!(letter_to(&made, "Vega-Ortiz").text().contains("discovered on June 16, 2026"));
}

#[test]
fn without_a_government_number_massachusetts_gets_no_monitoring() {
    check("Whitcomb", &["police report", "security freeze"], &["months of credit monitoring"]);
}

#[test]
fn a_letter_lists_exactly_the_classes_of_its_person() {
    let leads = [
        (ElementClass::Identity, "Identity:"),
        (ElementClass::GovernmentId, "Government numbers:"),
        (ElementClass::Clinical, "Medical information:"),
        (ElementClass::Document, "Medical reports:"),
        (ElementClass::Restricted, "Specially protected information:"),
    ];
    for state in ["IN", "CA", "MA", "OH"] {
        for bits in 1..=ClassSet::ALL.bits() {
            let mut made = community();
            let classes = ClassSet::from_bits(bits);
            made.persons.truncate(1);
            made.persons[0].classes = classes;
            made.persons[0].state = Some(state.to_owned());
            made.scope.rows.truncate(1);
            made.scope.rows[0].released = ClassSet::ALL;
            let text = letter_to(&made, "Pennington").text();
            for (class, lead) in leads {
                assert_eq!(text.contains(lead), classes.contains(class), "{state} {classes}");
            }
            let denied = text.contains("were not involved");
            let doubt =
                [ElementClass::GovernmentId, ElementClass::Document, ElementClass::Restricted];
            assert!(!denied || !doubt.iter().any(|class| classes.contains(*class)), "{classes}");
        }
    }
}

#[test]
fn minors_and_the_dead_are_not_addressed_themselves() {
    check(
        "Whitcomb",
        &["Parent or Guardian of Samuel Whitcomb", "Dear parent or guardian", "your child's"],
        &["Dear Samuel"],
    );
    check("Abernathy", &["Family of Ruth Abernathy", "your family member's"], &["Dear Ruth"]);
}

#[test]
fn no_letter_tells_how_many_persons_are_concerned_or_who_did_it() {
    let made = community();
    for name in ["Pennington", "Vega-Ortiz", "Brennan", "Lindqvist"] {
        let text = letter_to(&made, name).text();
        assert!(!text.contains(" persons"), "{name}");
        assert!(!text.contains("brandt"), "{name}");
        assert!(!text.contains(" 9 "), "{name}");
    }
}

#[test]
fn an_incident_that_is_not_contained_is_not_called_contained() {
    let mut made = community();
    made.incident.status = Status::Open;
    let text = letter_to(&made, "Lindqvist").text();
    assert!(text.contains("is working to contain"));
    assert!(!text.contains("suspended"));
    let matter = matter(&made);
    let fonts = Fonts::load().expect("fonts");
    assert!(lists::index_text(&matter, &fonts).contains("not contained"));
}

#[test]
fn monitoring_without_a_provider_is_a_blank_that_the_index_names() {
    let mut made = community();
    made.letterhead.monitoring = None;
    assert!(letter_to(&made, "Brennan").text().contains(letter::MONITORING_BLANK));
    let fonts = Fonts::load().expect("fonts");
    let index = lists::index_text(&matter(&made), &fonts);
    assert!(index.contains("2 letters must offer credit monitoring"), "{index}");
    assert!(!lists::index_text(&matter(&community()), &fonts).contains("must offer"));
}

#[test]
fn the_index_names_letters_that_need_a_hand() {
    let fonts = Fonts::load().expect("fonts");
    let whole = lists::index_text(&matter(&community()), &fonts);
    assert!(!whole.contains("window envelope") && !whole.contains("question marks"), "{whole}");
    let mut made = community();
    made.persons[0].name = "李 Pennington".to_owned().into();
    made.persons[1].address = vec!["A very long street line ".repeat(4)].into();
    let index = lists::index_text(&matter(&made), &fonts);
    assert!(index.contains("letters/IN/00001.pdf: name or address has characters"), "{index}");
    assert!(index.contains("letters/CA/00001.pdf: the address is too wide"), "{index}");
}

#[test]
fn a_client_learns_of_its_own_patients_only() {
    let made = community();
    let matter = matter(&made);
    let id = organization("mercy-ridge");
    let client = &matter.clients[&id];
    let text = notice::compose(&matter, &id, client).text();
    for words in ["45 CFR 164.410", "5 persons and 5 patient records", "Indiana 3 3", "persons.csv"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(text.contains("Government numbers (Social Security and others) 1 0"), "{text}");
    assert!(text.contains("CA-CDPH: the statute binds licensees"), "{text}");
    assert_eq!(text.matches("IN: compliance").count(), 1, "each open point once");
    assert!(!text.contains("OH:"), "another client's question: {text}");
    assert!(!text.contains("Lakeside Family"), "{text}");
    assert!(!text.contains("9 charts"), "{text}");
    let csv = lists::persons_csv(client);
    assert_eq!(csv.lines().count(), 6);
    assert!(csv.contains("Zoë Müller-Łukasz") && !csv.contains("Pennington"));
    assert!(csv.contains("none: no complete address"));
}

#[test]
fn a_name_cannot_run_as_a_formula() {
    let mut made = community();
    made.persons[0].name = "=HYPERLINK(\"http://evil.example\",\"x\")".to_owned().into();
    made.persons[1].address = vec!["@SUM(1+1)".to_owned()].into();
    let matter = matter(&made);
    let csv = lists::persons_csv(&matter.clients[&organization("lakeside-family")]);
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    for row in reader.records().map(|row| row.expect("a row")) {
        for cell in &row {
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell}");
        }
    }
    assert!(csv.contains("'=HYPERLINK") && csv.contains("'@SUM"));
}

#[test]
fn drafts_are_marked_and_never_claim_to_be_sent() {
    let made = community();
    let matter = matter(&made);
    let fonts = Fonts::load().expect("fonts");
    let texts = [
        lists::index_text(&matter, &fonts),
        lists::deadlines_text(&matter),
        lists::deadlines_csv(&matter),
    ];
    for text in &texts {
        assert!(text.contains("DRAFT - counsel's review needed"), "{text}");
        assert!(text.to_lowercase().contains("needs counsel's review"), "{text}");
        for claim in ["was sent", "were sent", "have been sent", "has been mailed"] {
            assert!(!text.contains(claim), "{claim}: {text}");
        }
    }
    assert!(texts[0].contains("Nothing here has been sent."));
    assert!(texts[1].contains("[DRAFT] US-HIPAA"), "what is certain is a plain draft");
    assert!(texts[1].contains("July 7, 2026 (15 days after this draft)"), "{}", texts[1]);
}

#[test]
fn a_deadline_that_is_over_says_so() {
    let mut made = community();
    made.letterhead.date = crate::community::at("2026-09-01T12:00:00Z");
    let text = lists::deadlines_text(&matter(&made));
    assert!(text.contains("August 15, 2026 (PASSED 17 days before this draft)"), "{text}");
}

#[test]
fn persons_and_scope_must_fit_together() {
    let refused = |change: fn(&mut Community)| {
        let mut made = community();
        change(&mut made);
        let (persons, organizations) = (&made.persons, &made.organizations);
        draft(&made.incident, &made.scope, persons, organizations, &made.letterhead)
            .expect_err("does not fit")
    };
    assert!(matches!(
        refused(|made| made.persons[0].patient = patient(99)),
        DraftError::NotInScope { .. }
    ));
    assert!(matches!(
        refused(|made| made.persons[3].classes = ClassSet::ALL),
        DraftError::ClassesBeyondScope { .. }
    ));
    assert!(matches!(
        refused(|made| made.persons.push(made.persons[0].clone())),
        DraftError::GivenTwice { .. }
    ));
    assert!(matches!(
        refused(|made| {
            made.organizations.pop();
        }),
        DraftError::UnknownOrganization(_)
    ));
}

#[test]
fn a_state_cannot_lead_out_of_the_folder() {
    let mut made = community();
    made.persons.truncate(1);
    made.scope.rows.truncate(1);
    for (state, folder) in
        [("../../etc", "ETC"), ("..", "OTHER"), ("in", "IN"), ("C:\\x", "CX"), ("日本", "OTHER")]
    {
        made.persons[0].state = Some(state.to_owned());
        made.persons[0].addressee = Addressee::Patient;
        let matter = matter(&made);
        let case = &matter.clients.values().next().expect("a client").cases[0];
        assert_eq!(case.letter.as_deref(), Some(&*format!("letters/{folder}/00001.pdf")));
    }
}
