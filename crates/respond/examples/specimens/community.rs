//! A small incident with everything that letters can differ by. No real person,
//! place of business or number: 555 telephones, example domains.

use holdfast_base::{
    ClassSet, ElementClass, IncidentId, LedgerIndex, OrganizationId, PatientId, PersonId,
    PrincipalId, Purpose, Timestamp,
};
use holdfast_ledger::{Action, Actor, Entry, Event, Placed, Touch};
use holdfast_respond::{
    Addressee, AffectedPerson, Contact, FrozenScope, Incident, IncidentFinding, Letterhead,
    License, Monitoring, Organization, Scope, ScopeQuery, Status, scope,
};

/// The first act: a Tuesday in June.
pub const FIRST: &str = "2026-06-02T14:05:00Z";
/// Two weeks later it is noticed.
pub const DISCOVERED: &str = "2026-06-16T15:30:00Z";

/// Everything that `draft` takes.
pub struct Community {
    pub incident: Incident,
    pub scope: Scope,
    pub persons: Vec<AffectedPerson>,
    pub organizations: Vec<Organization>,
    pub letterhead: Letterhead,
}

pub fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

pub fn organization(id: &str) -> OrganizationId {
    OrganizationId::new(id).expect("an organization")
}

pub fn patient(number: u8) -> PatientId {
    PatientId::from_bytes([number; 16])
}

pub fn person(number: u8) -> PersonId {
    PersonId::from_bytes([number | 0x80; 16])
}

pub fn entry(index: u64, at: Timestamp, event: Event) -> Placed {
    let actor = Actor {
        principal: PrincipalId::new("c.brandt@lakeside-family").expect("a principal"),
        session: None,
        organization: Some(organization("lakeside-family")),
        address: None,
    };
    Placed { index: LedgerIndex(index), entry: Entry { at, actor, request: None, event } }
}

pub fn release(organization: &OrganizationId, patient: PatientId, classes: ClassSet) -> Event {
    Event::KeyRelease {
        organization: organization.clone(),
        patient,
        classes,
        purpose: Purpose::Treatment,
        reason: "own-organization".to_owned(),
    }
}

pub fn read(organization: &OrganizationId, patient: PatientId, touches: Vec<Touch>) -> Event {
    Event::Access {
        organization: organization.clone(),
        patient,
        action: Action::Read,
        purpose: Purpose::Treatment,
        relationship: "organization".to_owned(),
        touches,
    }
}

pub fn profile(
    organization: &OrganizationId,
    patient: PatientId,
    person: PersonId,
    residence: Option<&str>,
) -> Event {
    Event::PatientProfile {
        organization: organization.clone(),
        patient,
        person,
        residence: residence.map(str::to_owned),
    }
}

pub fn touch(resource_type: &str, id: &str, class: ElementClass) -> Touch {
    Touch {
        resource_type: resource_type.to_owned(),
        id: id.to_owned(),
        version: 1,
        classes: ClassSet::of(class),
    }
}

struct Resident {
    organization: &'static str,
    name: &'static str,
    address: &'static [&'static str],
    city: &'static str,
    state: &'static str,
    zip: &'static str,
    addressee: Addressee,
    classes: ClassSet,
}

fn residents() -> Vec<Resident> {
    use ElementClass::{Clinical, Document, GovernmentId, Identity, Restricted};
    let plain = ClassSet::of(Identity).with(Clinical);
    let full = plain.with(GovernmentId).with(Document);
    let row = |organization, name, address, city, state, zip, addressee, classes| Resident {
        organization,
        name,
        address,
        city,
        state,
        zip,
        addressee,
        classes,
    };
    let patient = Addressee::Patient;
    let lakeside = "lakeside-family";
    let hospital = "mercy-ridge";
    vec![
        row(
            lakeside,
            "Harold J. Pennington",
            &["1420 Sycamore Street"],
            "Fort Wayne",
            "IN",
            "46802",
            patient,
            full,
        ),
        row(
            lakeside,
            "Marisol Vega-Ortiz",
            &["88 Harbor View Terrace", "Apartment 12C"],
            "Long Beach",
            "CA",
            "90802-4417",
            patient,
            full,
        ),
        row(
            lakeside,
            "Aoife Brennan",
            &["7 Beacon Court"],
            "Worcester",
            "MA",
            "01609",
            patient,
            full.with(Restricted),
        ),
        row(
            lakeside,
            "Theodore Lindqvist",
            &["305 North Elm Street"],
            "Toledo",
            "OH",
            "43604",
            patient,
            plain,
        ),
        row(
            hospital,
            "Zoë Müller-Łukasz",
            &["2210 Prairie Avenue"],
            "South Bend",
            "IN",
            "46615",
            patient,
            plain.with(Document),
        ),
        row(
            hospital,
            "Nguyễn Thị Hoa",
            &["4501 Mission Boulevard", "Building 3", "Unit 208"],
            "San Diego",
            "CA",
            "92109",
            patient,
            plain,
        ),
        row(
            hospital,
            "Samuel Whitcomb",
            &["16 Orchard Lane"],
            "Amherst",
            "MA",
            "01002",
            Addressee::ParentOrGuardian,
            plain,
        ),
        row(
            hospital,
            "Ruth Abernathy",
            &["940 Walnut Street"],
            "Muncie",
            "IN",
            "47303",
            Addressee::NextOfKin,
            full,
        ),
        row(hospital, "Clyde Farrow", &[], "", "IN", "", patient, plain),
    ]
}

/// Builds it.
pub fn community() -> Community {
    let residents = residents();
    let (mut entries, mut profiles, mut persons) = (Vec::new(), Vec::new(), Vec::new());
    for (place, resident) in residents.into_iter().enumerate() {
        let number = u8::try_from(place).expect("few") + 1;
        let (id, kept) = (patient(number), organization(resident.organization));
        let when = at(FIRST).plus_millis(i64::from(number) * 36_000_000);
        let index = u64::from(number) * 10;
        profiles.push(entry(
            index,
            at(FIRST),
            profile(&kept, id, person(number), Some(resident.state)),
        ));
        entries.push(entry(index + 1, when, release(&kept, id, resident.classes)));
        let touches = vec![
            touch("Patient", "p", ElementClass::Identity),
            touch("Observation", "o1", ElementClass::Clinical),
            touch("Observation", "o2", ElementClass::Clinical),
        ];
        entries.push(entry(index + 2, when.plus_millis(90_000), read(&kept, id, touches)));
        persons.push(AffectedPerson {
            organization: kept,
            patient: id,
            person: Some(person(number)),
            name: resident.name.to_owned().into(),
            address: resident
                .address
                .iter()
                .map(|line| (*line).to_owned())
                .collect::<Vec<_>>()
                .into(),
            city: resident.city.to_owned().into(),
            state: Some(resident.state.to_owned()),
            zip: resident.zip.to_owned().into(),
            addressee: resident.addressee,
            classes: resident.classes,
        });
    }
    let scope = scope(&entries, &profiles);
    let incident = Incident {
        id: IncidentId(7),
        opened: at(DISCOVERED),
        discovered: at(DISCOVERED),
        principal: PrincipalId::new("c.brandt@lakeside-family").expect("a principal"),
        findings: vec![IncidentFinding {
            at: at(DISCOVERED),
            detector: "no-relationship".to_owned(),
            severity: "serious".to_owned(),
            patients_count: 9,
            summary: "9 charts were opened without a documented care relationship".to_owned(),
        }],
        status: Status::ScopeFrozen,
        scope: Some(FrozenScope {
            at: at("2026-06-16T16:10:00Z"),
            query: ScopeQuery {
                principal: PrincipalId::new("c.brandt@lakeside-family").ok(),
                ..ScopeQuery::default()
            },
            scope: scope.clone(),
            ledger_size: 48_211,
            ledger_root: "9f2c7d0b41e88a6f3b5d2c90ee71a4c6d8053f1be2479a60cc18d7f4b3a5e692"
                .to_owned(),
        }),
    };
    Community { incident, scope, persons, organizations: organizations(), letterhead: letterhead() }
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn organizations() -> Vec<Organization> {
    vec![
        Organization {
            id: organization("lakeside-family"),
            name: "Lakeside Family Practice".to_owned(),
            address: vec![
                "200 Lakeside Drive, Suite 4".to_owned(),
                "Fort Wayne, IN 46805".to_owned(),
            ],
            contact: Contact {
                telephone: text("1-260-555-0140"),
                web: text("www.lakeside-family.example.com"),
                ..Contact::default()
            },
            parent: text("Three Rivers Health Partners, LLC"),
            signatory: text("Dana Whitfield, Privacy Officer"),
            licenses: Vec::new(),
        },
        Organization {
            id: organization("mercy-ridge"),
            name: "Mercy Ridge Hospital".to_owned(),
            address: vec!["1 Hospital Way".to_owned(), "South Bend, IN 46601".to_owned()],
            contact: Contact {
                telephone: text("1-574-555-0100"),
                web: text("www.mercyridge.example.com"),
                ..Contact::default()
            },
            parent: None,
            signatory: text("Priya Raman, Chief Compliance Officer"),
            licenses: vec![License::CaliforniaHealthFacility],
        },
    ]
}

fn letterhead() -> Letterhead {
    Letterhead {
        exchange: "Wabash Valley Health Exchange".to_owned(),
        exchange_address: vec!["500 Canal Street".to_owned(), "Lafayette, IN 47901".to_owned()],
        contact: Contact {
            telephone: text("1-800-555-0199"),
            hours: text("Monday to Friday, 8 a.m. to 8 p.m. Eastern time"),
            email: text("notice@wabash-hie.example.com"),
            web: text("www.wabash-hie.example.com/notice"),
        },
        signatory: text("Miriam Castellanos, Chief Privacy Officer"),
        date: at("2026-06-22T15:00:00Z"),
        monitoring: Some(Monitoring {
            provider: "Evergreen Credit Watch".to_owned(),
            web: "www.evergreen-watch.example.com/enroll".to_owned(),
            telephone: "1-800-555-0133".to_owned(),
            enroll_by: "October 31, 2026".to_owned(),
        }),
        what_happened: None,
        delayed_by_law_enforcement: false,
    }
}
