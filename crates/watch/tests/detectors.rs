//! What each detector says, and what none may say.

use std::collections::{BTreeSet, HashSet};

use holdfast_base::{
    ClassSet, LedgerIndex, OrganizationId, PatientId, PrincipalId, Purpose, Timestamp,
};
use holdfast_ledger::{Action, Actor, Entry, Event, Placed};
use holdfast_watch::{Finding, Response, Settings, Severity, Watch};
use proptest::prelude::*;

const MINUTE_MS: i64 = 60_000;
/// 2015-05-07, 09:00 UTC.
const START_MS: i64 = 1_430_989_200_000;

fn patient(n: u32) -> PatientId {
    let mut bytes = [1; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    PatientId::from_bytes(bytes)
}

fn name(text: &str) -> PrincipalId {
    text.parse().expect("a principal id")
}

fn lakeside() -> OrganizationId {
    "lakeside".parse().expect("an organization id")
}

fn entry(who: &str, at_ms: i64, event: Event) -> Placed {
    let actor = Actor {
        principal: name(who),
        session: None,
        organization: Some(lakeside()),
        address: Some(format!("10.0.0.{}", who.len())),
    };
    let at = Timestamp::from_millis(START_MS + at_ms);
    Placed { index: LedgerIndex(0), entry: Entry { at, actor, request: None, event } }
}

fn release(who: &str, at_ms: i64, n: u32, purpose: Purpose) -> Placed {
    let event = Event::KeyRelease {
        organization: lakeside(),
        patient: patient(n),
        classes: ClassSet::ALL,
        purpose,
        reason: "own-organization".into(),
    };
    entry(who, at_ms, event)
}

fn access(who: &str, at_ms: i64, n: u32, purpose: Purpose, relationship: &str) -> Placed {
    let event = Event::Access {
        organization: lakeside(),
        patient: patient(n),
        action: Action::Read,
        purpose,
        relationship: relationship.into(),
        touches: Vec::new(),
    };
    entry(who, at_ms, event)
}

fn refusal(who: &str, at_ms: i64, door: &str, reason: &str) -> Placed {
    let event = Event::Refusal {
        door: door.into(),
        reason: reason.into(),
        patient: None,
        organization: None,
    };
    entry(who, at_ms, event)
}

fn account(who: &str, role: &str) -> Placed {
    let (account, change, role) = (name(who), "created".into(), role.into());
    entry("admin", 0, Event::AccountChange { account, change, role })
}

/// A watch over honey patients 900 to 909.
fn watch() -> Watch {
    Watch::new(Settings::default(), (900..910).map(patient).collect())
}

fn observe_all(watch: &mut Watch, entries: &[Placed]) -> Vec<Finding> {
    entries.iter().flat_map(|entry| watch.observe(entry)).collect()
}

/// How the open findings stand, without what depends on the order: numbers, and
/// probing, whose threshold is crossed by whichever refusal comes last.
fn standing(watch: &Watch) -> BTreeSet<String> {
    let open = watch.open_findings();
    let text = |f: &&Finding| {
        format!(
            "{} {} {} {:?} {:?} {} {} {} {}",
            f.detector,
            f.principal,
            f.severity,
            f.response,
            f.patients,
            f.first,
            f.last,
            f.summary,
            f.address.as_deref().unwrap_or_default(),
        )
    };
    open.iter().filter(|f| f.detector != "probing").map(text).collect()
}

#[test]
fn chart_after_chart_is_serious_then_suspended_before_a_clinicians_budget() {
    let mut watch = watch();
    let mut seen = Vec::new();
    for n in 0..20 {
        let at_ms = i64::from(n) * 2_000;
        let found = watch.observe(&access("dr", at_ms, n, Purpose::Treatment, "organization"));
        assert!(found.len() <= 1);
        seen.extend(found);
    }
    let first = &seen[0];
    assert_eq!((first.detector, first.severity), ("no-relationship", Severity::Serious));
    assert_eq!((first.patients.len(), first.response), (8, Response::None));
    let suspending = seen.iter().find(|f| f.response == Response::Suspend).expect("suspended");
    assert_eq!((suspending.patients.len(), suspending.severity), (14, Severity::Critical));
    assert_eq!(seen.len(), 13, "one report for each added patient");
    assert!(seen.iter().all(|f| f.number == first.number && f.first == first.first), "one finding");
    let last = seen.last().expect("a finding");
    assert_eq!(last.patients, (0..20).map(patient).collect());
    assert_eq!(last.last.millis_since(last.first), 38_000);
    assert_eq!(
        last.summary,
        "20 patients opened for treatment without a documented relationship (limit for 15 minutes)"
    );
}

#[test]
fn a_patient_offender_is_seen_over_the_day() {
    let mut watch = watch();
    let slow = |n: u32| {
        access("dr", i64::from(n) * 10 * MINUTE_MS, n, Purpose::EmergencyTreatment, "none")
    };
    let found: Vec<_> = (0..100).map(|n| watch.observe(&slow(n))).collect();
    assert!(found[..39].iter().all(Vec::is_empty));
    assert_eq!(found[39][0].severity, Severity::Serious);
    assert_eq!(found[79][0].response, Response::Suspend);
}

#[test]
fn the_same_chart_again_and_charts_of_ones_own_patients_are_no_finding() {
    let mut watch = watch();
    for n in 0..200 {
        let at_ms = i64::from(n) * 1_000;
        let own = access("dr", at_ms, n, Purpose::Treatment, "care-team");
        let again = access("dr", at_ms, n % 7, Purpose::Treatment, "organization");
        assert_eq!(observe_all(&mut watch, &[own, again]), []);
    }
}

#[test]
fn who_serves_every_patient_needs_no_relationship_and_a_stranger_does() {
    for (role, expected) in [("laboratory-staff", false), ("nurse", true), ("mystery", true)] {
        let mut watch = watch();
        watch.observe(&account("someone", role));
        let reads: Vec<_> =
            (0..30).map(|n| access("someone", 0, n, Purpose::Treatment, "organization")).collect();
        assert_eq!(!observe_all(&mut watch, &reads).is_empty(), expected, "{role}");
    }
}

#[test]
fn an_alert_of_the_keeper_and_its_refusals_are_one_finding_that_names_whom_it_reached() {
    let mut watch = watch();
    for n in 0..5 {
        watch.observe(&release("dr", 0, n, Purpose::Treatment));
    }
    let over = watch.observe(&refusal("dr", 10, "keeper", "over-budget"));
    assert_eq!(over.len(), 1);
    assert_eq!((over[0].severity, over[0].response), (Severity::Critical, Response::Suspend));
    assert_eq!(over[0].patients, (0..5).map(patient).collect());
    let alert = Event::Alert {
        detector: "keeper-budget".into(),
        principal: name("dr"),
        patients_count: 5,
        severity: "critical".into(),
        summary: over[0].summary.clone(),
    };
    assert_eq!(watch.observe(&entry("keeper", 11, alert)), [], "no echo");
    assert_eq!(watch.observe(&refusal("dr", 12, "keeper", "over-budget")), []);
}

#[test]
fn the_keepers_alert_alone_is_about_whom_it_names() {
    let alert = Event::Alert {
        detector: "keeper-budget".into(),
        principal: name("dr"),
        patients_count: 20,
        severity: "critical".into(),
        summary: "over budget".into(),
    };
    let found = watch().observe(&entry("keeper", 0, alert));
    assert_eq!(found[0].principal, name("dr"));
}

#[test]
fn a_gap_between_ledger_and_store_is_about_whose_act_it_is_and_suspends_nobody() {
    let alert = |at_ms, severity: &str| {
        let event = Event::Alert {
            detector: "reconciliation".into(),
            principal: name("dr"),
            patients_count: 0,
            severity: severity.into(),
            summary: "entry 31: keys were released and nothing says what for".into(),
        };
        entry("system", at_ms, event)
    };
    let mut watch = watch();
    assert_eq!(watch.observe(&alert(0, "notice")), [], "what a crash left behind");
    let found = watch.observe(&alert(1, "critical"));
    assert_eq!((found[0].principal.as_str(), found[0].severity), ("dr", Severity::Critical));
    assert_eq!(found[0].response, Response::None);
    assert!(found[0].summary.starts_with("entry 31:"), "its place: {}", found[0].summary);
    assert_eq!(watch.observe(&alert(2, "critical")), [], "one finding a day");
}

#[test]
fn alerts_of_the_watch_itself_never_come_back_as_findings() {
    for detector in ["no-relationship", "honey-patient", "probing"] {
        let alert = Event::Alert {
            detector: detector.into(),
            principal: name("dr"),
            patients_count: 20,
            severity: "critical".into(),
            summary: "seen".into(),
        };
        assert_eq!(watch().observe(&entry("watch", 0, alert)), []);
    }
}

#[test]
fn intake_may_write_honey_and_a_registrar_may_not_touch_it() {
    let mut watch = watch();
    watch.observe(&account("engine", "system"));
    watch.observe(&account("desk", "registrar"));
    assert_eq!(watch.observe(&release("engine", 0, 900, Purpose::Operations)), []);
    assert_eq!(watch.observe(&access("engine", 0, 900, Purpose::Operations, "intake")), []);
    let found = watch.observe(&release("desk", 0, 900, Purpose::Operations));
    assert_eq!(found[0].response, Response::Suspend);
    assert_eq!(watch.observe(&release("engine", 0, 900, Purpose::Treatment)).len(), 1);
}

#[test]
fn the_privacy_office_is_told_of_honey_and_not_locked_out() {
    let mut watch = watch();
    watch.observe(&account("po", "privacy-officer"));
    let found = watch.observe(&release("po", 0, 901, Purpose::Compliance));
    assert_eq!((found[0].severity, found[0].response), (Severity::Notice, Response::None));
}

#[test]
fn a_burst_of_refusals_from_one_address_is_probing_whoever_is_named() {
    let mut watch = watch();
    let named = ["tester1", "testing", "admin01", "root-00"];
    let found: Vec<_> = (0..40)
        .map(|n| refusal(named[n % 4], n as i64 * 500, "sign-in", "no-such-account"))
        .flat_map(|entry| watch.observe(&entry))
        .collect();
    assert_eq!(found.len(), 1, "said once");
    assert_eq!((found[0].detector, found[0].severity), ("probing", Severity::Notice));
    assert_eq!(found[0].address.as_deref(), Some("10.0.0.7"));
    assert_eq!((found[0].response, found[0].entries_count), (Response::None, 1));
}

#[test]
fn refused_intake_and_slow_mistakes_are_not_probing() {
    let mut watch = watch();
    for n in 0..100 {
        assert_eq!(watch.observe(&refusal("engine", n, "intake", "malformed")), []);
        let typo = refusal("nurse", n * 2 * MINUTE_MS, "sign-in", "wrong-credentials");
        assert_eq!(watch.observe(&typo), []);
    }
}

#[test]
fn a_lifted_containment_starts_anew() {
    let mut watch = watch();
    let read = |n: u32| access("dr", i64::from(n), n, Purpose::Treatment, "organization");
    let found: Vec<_> = (0..14).flat_map(|n| watch.observe(&read(n))).collect();
    let lifted = Event::Containment {
        principal: name("dr"),
        action: "lifted".into(),
        reason: "on call for the ward".into(),
        incident: None,
    };
    watch.observe(&entry("so", 20, lifted));
    let after: Vec<_> = (20..28).flat_map(|n| watch.observe(&read(n))).collect();
    assert_eq!(after.len(), 1);
    assert_ne!(after[0].number, found[0].number);
    assert_eq!(after[0].patients.len(), 8);
}

#[test]
fn after_the_window_a_new_finding_opens() {
    let mut watch = watch();
    let day_ms = 24 * 60 * MINUTE_MS;
    let first = watch.observe(&release("dr", 0, 900, Purpose::Treatment));
    assert_eq!(watch.observe(&release("dr", day_ms - 1, 900, Purpose::Treatment)), []);
    let later = watch.observe(&release("dr", 2 * day_ms, 900, Purpose::Treatment));
    assert_eq!((first[0].number, later[0].number), (1, 2));
}

#[test]
fn what_belongs_to_no_patient_never_counts() {
    let honey: HashSet<_> = [PatientId::NONE].into();
    let mut watch = Watch::new(Settings::default(), honey);
    let event = Event::KeyRelease {
        organization: lakeside(),
        patient: PatientId::NONE,
        classes: ClassSet::ALL,
        purpose: Purpose::Treatment,
        reason: "own-organization".into(),
    };
    assert_eq!(watch.observe(&entry("dr", 0, event)), []);
}

/// Any mixture of entries within a quarter of an hour.
fn mixture() -> impl Strategy<Value = Vec<Placed>> {
    let who = prop::sample::select(vec!["dr", "nurse", "desk", "engine"]);
    let one = (who, 0..15 * MINUTE_MS, 0..40_u32, 0..6_u8).prop_map(|(who, at_ms, n, what)| {
        let honey = n % 7 == 0;
        let n = if honey { 900 + n % 10 } else { n };
        match what {
            0 => access(who, at_ms, n, Purpose::Treatment, "organization"),
            1 => access(who, at_ms, n, Purpose::EmergencyTreatment, "none"),
            2 => access(who, at_ms, n, Purpose::Treatment, "care-team"),
            3 => release(who, at_ms, n, Purpose::Treatment),
            4 => refusal(who, at_ms, "sign-in", "wrong-credentials"),
            _ => access(who, at_ms, n, Purpose::Operations, "intake"),
        }
    });
    prop::collection::vec(one, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Within one span, findings end the same in whatever order entries come.
    #[test]
    fn order_within_a_span_does_not_matter(
        (entries, shuffled) in mixture().prop_flat_map(|entries| {
            (Just(entries.clone()), Just(entries).prop_shuffle())
        })
    ) {
        let (mut straight, mut mixed) = (watch(), watch());
        observe_all(&mut straight, &entries);
        observe_all(&mut mixed, &shuffled);
        prop_assert_eq!(standing(&straight), standing(&mixed));
    }

    /// Whoever opens a honey record, in whatever noise, is found at that entry.
    #[test]
    fn honey_is_always_found(
        noise in mixture(),
        at in 0..120_usize,
        honey in 900..910_u32,
        as_release: bool,
        purpose in prop::sample::select(vec![
            Purpose::Treatment, Purpose::EmergencyTreatment, Purpose::Operations,
            Purpose::PatientRequest, Purpose::Compliance, Purpose::Research,
        ]),
    ) {
        let mut watch = watch();
        watch.observe(&account("engine", "system"));
        let place = at.min(noise.len());
        observe_all(&mut watch, &noise[..place]);
        let touch = match as_release {
            true => release("thief", 5, honey, purpose),
            false => access("thief", 5, honey, purpose, "care-team"),
        };
        let found = watch.observe(&touch);
        let caught = found.iter().any(|f| {
            f.detector == "honey-patient"
                && f.response == Response::Suspend
                && f.patients.contains(&patient(honey))
        });
        prop_assert!(caught, "{:?}", found);
    }

    /// A finding only ever grows, and never twice to the same state.
    #[test]
    fn findings_only_grow(entries in mixture()) {
        let mut last = std::collections::HashMap::<u64, Finding>::new();
        for found in observe_all(&mut watch(), &entries) {
            if let Some(before) = last.get(&found.number) {
                prop_assert!(found.patients.is_superset(&before.patients));
                prop_assert!(found.severity >= before.severity && found.response >= before.response);
                prop_assert!(found.first <= before.first && found.last >= before.last);
                let same = found.patients == before.patients
                    && (found.severity, found.response) == (before.severity, before.response);
                prop_assert!(!same, "reported without news");
            }
            last.insert(found.number, found);
        }
        let mut keys: Vec<_> = last.values().map(|f| (f.detector, &f.principal, &f.address)).collect();
        let count = keys.len();
        keys.sort();
        keys.dedup();
        prop_assert_eq!(keys.len(), count, "one finding for a principal and detector");
    }

    /// A day on which everybody does their work: nobody is bothered.
    #[test]
    fn a_well_behaved_day_yields_no_finding(seed in any::<u64>()) {
        let found = observe_all(&mut watch(), &well_behaved_day(seed));
        prop_assert_eq!(found, vec![]);
    }
}

/// Ten hours of two practices' work: appointments with one's own patients, a
/// few walk-ins and phone calls without a relationship, a registrar and a
/// laboratory that see everybody, intake of every patient with the honey among
/// them, mistyped passwords.
fn well_behaved_day(seed: u64) -> Vec<Placed> {
    let mut state = seed;
    let mut random = move |below: u64| {
        // SplitMix64 (Steele, Lea, Flood 2014): a test's own small generator.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    };
    let staff = [("dr-a", "clinician"), ("dr-b", "clinician"), ("nurse-c", "nurse")];
    let mut day: Vec<_> = staff.iter().map(|(who, role)| account(who, role)).collect();
    day.push(account("front-desk-of-lakeside", "registrar"));
    day.push(account("lab", "laboratory-staff"));
    day.push(account("engine", "system"));
    let mut work = Vec::new();
    for n in (0..400).chain(900..910) {
        let at_ms = random(600) as i64 * MINUTE_MS;
        work.push(release("engine", at_ms, n, Purpose::Operations));
        work.push(access("engine", at_ms, n, Purpose::Operations, "intake"));
    }
    for hour in 0..10 {
        for (who, _) in staff {
            for _ in 0..6 {
                let (n, at_ms) = (random(400) as u32, (hour * 60 + random(60) as i64) * MINUTE_MS);
                work.push(release(who, at_ms, n, Purpose::Treatment));
                work.push(access(who, at_ms, n, Purpose::Treatment, "care-team"));
            }
            for _ in 0..random(4) {
                let (n, at_ms) = (random(400) as u32, (hour * 60 + random(60) as i64) * MINUTE_MS);
                work.push(release(who, at_ms, n, Purpose::Treatment));
                work.push(access(who, at_ms, n, Purpose::Treatment, "organization"));
            }
            if random(3) == 0 {
                work.push(refusal(who, hour * 60 * MINUTE_MS, "sign-in", "wrong-credentials"));
            }
        }
        for _ in 0..30 {
            let (n, at_ms) = (random(400) as u32, (hour * 60 + random(60) as i64) * MINUTE_MS);
            work.push(access("lab", at_ms, n, Purpose::Treatment, "organization"));
            let desk = "front-desk-of-lakeside";
            work.push(access(desk, at_ms, n, Purpose::Operations, "organization"));
        }
    }
    work.sort_by_key(|placed| placed.entry.at);
    day.extend(work);
    day
}
