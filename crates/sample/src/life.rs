//! One person's year: who treats them, when, and the messages that come of it.

use jiff::civil::DateTime;
use jiff::{SignedDuration, ToSpan};

use crate::bundle::{Findings, transaction};
use crate::ccda::{self, Summary};
use crate::clinical::{Condition, VACCINES};
use crate::community::{
    CEDAR, Channel, Community, EMPLOYER, HOSPITAL, LABORATORY, LAKESIDE, Member, NEUROLOGY,
    Organization, TRANSCRIPTION,
};
use crate::dice::Dice;
use crate::facts::{FactKind, Facts};
use crate::labs::Panel;
use crate::messages::{self, Admission, Dictation, Dose, Order, Visit};
use crate::person::Person;
use crate::registration::{Registration, register};
use crate::report::{self, Report};
use crate::stream::{Item, Options, TruthRow, moment, place_of};

/// Most organizations that one person is known to.
const ORGANIZATIONS_MAX: usize = 4;

/// What is under way while a person's year is told.
pub(crate) struct Life<'a> {
    community: &'a Community,
    person: &'a Person,
    options: &'a Options,
    facts: &'a mut Facts,
    dice: Dice,
    registrations: Vec<Registration<'a>>,
    truth: Vec<TruthRow>,
    items: Vec<Item>,
    /// Numbers messages, visits, orders and documents of this person.
    counter: u32,
    primary: Option<&'a Member>,
}

impl<'a> Life<'a> {
    pub(crate) fn new(
        community: &'a Community,
        person: &'a Person,
        options: &'a Options,
        facts: &'a mut Facts,
    ) -> Self {
        let dice = Dice::new(options.seed, 0x2000_0000 + u64::from(person.number));
        Self {
            community,
            person,
            options,
            facts,
            dice,
            registrations: Vec::new(),
            truth: Vec::new(),
            items: Vec::new(),
            counter: 0,
            primary: None,
        }
    }

    /// Tells the year.
    pub(crate) fn live(mut self) -> (Vec<Item>, Vec<TruthRow>) {
        let known = self.organizations();
        for &slug in &known {
            self.register(slug);
        }
        let practice = [LAKESIDE, CEDAR].into_iter().find(|slug| known.contains(slug));
        self.primary = practice.map(|slug| self.clinician(slug));
        if let Some(practice) = practice {
            self.practice_year(practice);
        }
        if known.contains(&HOSPITAL) {
            self.hospital_year();
        }
        if known.contains(&NEUROLOGY) {
            self.neurology_year();
        }
        if known.contains(&EMPLOYER) {
            self.employer_year();
        }
        (self.items, self.truth)
    }

    /// Who knows the person: one to four organizations.
    fn organizations(&mut self) -> Vec<&'static str> {
        let age = self.person.age_on(self.options.start);
        let neurological = self.person.conditions.iter().any(|condition| condition.neurological);
        let mut known = Vec::new();
        if self.dice.chance(94) {
            known.push(if self.dice.chance(55) { LAKESIDE } else { CEDAR });
        }
        let practice = !known.is_empty();
        if (neurological && self.dice.chance(80)) || self.dice.chance(6) {
            known.push(NEUROLOGY);
        }
        if self.dice.chance(if age >= 60 { 62 } else { 36 }) || !practice {
            known.push(HOSPITAL);
        }
        let dictated = known.iter().any(|slug| [NEUROLOGY, HOSPITAL].contains(slug));
        if dictated && self.dice.chance(75) {
            known.push(TRANSCRIPTION);
        }
        if practice && self.dice.chance(65) {
            known.push(LABORATORY);
        }
        if (20..=66).contains(&age) && self.dice.chance(28) {
            known.push(EMPLOYER);
        }
        known.truncate(ORGANIZATIONS_MAX);
        known
    }

    fn organization(&self, slug: &str) -> &'a Organization {
        &self.community.organizations[place_of(self.community, slug)]
    }

    /// A clinician of the organization; a pediatrician for a child, where there is
    /// one, and never for an adult.
    fn clinician(&mut self, slug: &str) -> &'a Member {
        let age = self.person.age_on(self.options.start);
        let community = self.community;
        let (mut children, mut adults) = (Vec::new(), Vec::new());
        for member in community.staff.iter().filter(|m| m.slug == slug && m.npi.is_some()) {
            if member.specialty == "Pediatrics" { &mut children } else { &mut adults }.push(member);
        }
        let all = if age < 18 && !children.is_empty() { children } else { adults };
        all[self.dice.below(all.len())]
    }

    fn register(&mut self, slug: &'static str) {
        let place = place_of(self.community, slug);
        let organization = &self.community.organizations[place];
        let made = register(self.person, organization, place, false, &mut self.dice);
        self.facts.registration(&made);
        self.truth.push(TruthRow {
            person: self.person.number,
            organization: slug,
            record_number: made.mrn.clone(),
            merged_into: None,
            variations: made.variations.clone(),
        });
        self.registrations.push(made);
    }

    fn registration(&self, slug: &str) -> Option<Registration<'a>> {
        self.registrations.iter().find(|r| r.organization.slug == slug).cloned()
    }

    /// The next number of this person, unique in the stream.
    fn number(&mut self, prefix: &str) -> String {
        self.counter += 1;
        format!("{prefix}{:05}{:03}", self.person.number, self.counter)
    }

    fn send(&mut self, slug: &'static str, kind: &'static str, at: DateTime, bytes: Vec<u8>) {
        let channel = match kind {
            "CCD" => Channel::Ccda,
            "Bundle" => Channel::Fhir,
            _ => Channel::Hl7v2,
        };
        let organization = self.organization(slug);
        let Some(interface) = organization.interface(channel) else { return };
        self.items.push(Item {
            organization: organization.slug,
            interface: interface.principal.clone(),
            channel,
            kind,
            file_name: String::new(),
            bytes,
            person: self.person.number,
            at,
            fault: None,
        });
    }

    /// A moment in office hours, between two days of the stream.
    fn office(&mut self, from_day: i64, to_day: i64) -> DateTime {
        let day = self.dice.between(from_day, to_day);
        let at = moment(self.options.start, day, self.dice.between(8 * 60, 16 * 60));
        // Offices are closed on Saturdays and Sundays.
        match at.weekday().to_monday_zero_offset() {
            5 => at.saturating_sub(1.day()),
            6 => at.saturating_add(1.day()),
            _ => at,
        }
    }

    fn after(&mut self, at: DateTime, from_min: i64, to_min: i64) -> DateTime {
        at.saturating_add(SignedDuration::from_secs(self.dice.between(from_min * 60, to_min * 60)))
    }

    fn reason(&mut self, neurological: bool) -> Option<&'static Condition> {
        let own: Vec<_> = self
            .person
            .conditions
            .iter()
            .copied()
            .filter(|condition| condition.neurological == neurological)
            .collect();
        if own.is_empty() { None } else { Some(*self.dice.pick(&own)) }
    }

    fn visit(&mut self, class: &'static str, at: DateTime, attending: &'a Member) -> Visit<'a> {
        let location = match class {
            "I" => format!(
                "{}WEST^{}^{}",
                self.dice.between(2, 6),
                self.dice.between(201, 248),
                self.dice.pick(&["A", "B"])
            ),
            "E" => format!("ED^{:02}^1", self.dice.between(1, 18)),
            _ => format!("CLINIC^{}^", self.dice.between(1, 9)),
        };
        let neurological = attending.slug == NEUROLOGY;
        let reason = self.reason(neurological);
        Visit { number: self.number("V"), at, class, location, attending, reason }
    }

    fn admit(
        &mut self,
        registration: &Registration<'a>,
        trigger: &'static str,
        at: DateTime,
        visit: &Visit<'a>,
        discharged: Option<DateTime>,
    ) {
        let organization = registration.organization;
        let control = self.number(organization.facility.get(..2).unwrap_or("M"));
        let primary = self.primary;
        let said = Admission { trigger, at, control, visit, discharged, primary };
        let bytes = messages::admission(registration, &said);
        let kind = match trigger {
            "A01" => "ADT^A01",
            "A03" => "ADT^A03",
            "A08" => "ADT^A08",
            _ => "ADT^A04",
        };
        self.send(organization.slug, kind, at, bytes);
    }

    /// An A08 when the desk has something to correct, or by routine.
    fn update(
        &mut self,
        registration: &mut Registration<'a>,
        at: DateTime,
        visit: &Visit<'a>,
        routine: u32,
    ) {
        let changed = registration.corrected();
        if changed || self.dice.chance(routine) {
            self.facts.registration(registration);
            self.admit(registration, "A08", at, visit, None);
        }
    }

    fn practice_year(&mut self, slug: &'static str) {
        let Some(mut registration) = self.registration(slug) else { return };
        let Some(doctor) = self.primary else { return };
        let visits = 2 + self.dice.weighted(&[88, 12]) as i64;
        let span = 300 / visits;
        for turn in 0..visits {
            let at = self.office(turn * span, turn * span + span * 2 / 3);
            let visit = self.visit("O", at, doctor);
            self.admit(&registration, "A04", at, &visit, None);
            if slug == CEDAR {
                self.bundle(&registration, &visit, false);
            }
            if turn == 0 || self.dice.chance(15) {
                self.vaccinate(&registration, doctor, at);
            }
            if self.dice.chance(54) {
                self.laboratory_order(at, doctor);
            }
            if turn > 0 {
                let later = self.after(at, 6, 90);
                self.update(&mut registration, later, &visit, 22);
            }
        }
        if self.dice.chance(6) {
            self.duplicate(&registration, doctor);
        }
    }

    /// A second registration of the same person, found and merged weeks later.
    fn duplicate(&mut self, registration: &Registration<'a>, doctor: &'a Member) {
        let organization = registration.organization;
        let place = place_of(self.community, organization.slug);
        let second = register(self.person, organization, place, true, &mut self.dice);
        self.facts.registration(&second);
        let at = self.office(200, 270);
        let class = if organization.slug == HOSPITAL { "E" } else { "O" };
        let visit = self.visit(class, at, doctor);
        self.admit(&second, "A04", at, &visit, None);
        let merged = self.office(285, 320);
        let control = self.number(organization.facility.get(..2).unwrap_or("M"));
        let bytes = messages::merge(registration, &second, &control, &visit.number, merged);
        self.send(organization.slug, "ADT^A40", merged, bytes);
        self.truth.push(TruthRow {
            person: self.person.number,
            organization: organization.slug,
            record_number: second.mrn,
            merged_into: Some(registration.mrn.clone()),
            variations: second.variations,
        });
    }

    fn vaccinate(&mut self, registration: &Registration<'a>, doctor: &'a Member, at: DateTime) {
        let age = self.person.age_on(at.date());
        let due: Vec<_> =
            VACCINES.iter().filter(|v| (v.ages.0..=v.ages.1).contains(&age)).collect();
        if due.is_empty() || !self.dice.chance(if age < 12 { 90 } else { 40 }) {
            return;
        }
        let first = self.dice.below(due.len());
        let count = if age < 7 { 2 } else { 1 };
        let mut doses = Vec::new();
        for vaccine in due.iter().cycle().skip(first).take(count.min(due.len())) {
            doses.push(Dose {
                vaccine,
                order: self.number("IM"),
                lot: format!(
                    "{}{}",
                    self.dice.pick(&["U", "AC", "K", "Y"]),
                    self.dice.between(10_000, 99_999)
                ),
                expires: at.date().saturating_add(self.dice.between(90, 600).days()),
                ordering: doctor,
                site: *self.dice.pick(&[("LD", "Left deltoid"), ("RD", "Right deltoid")]),
            });
        }
        let control = self.number("VX");
        let at = self.after(at, 20, 50);
        let bytes = messages::vaccination(registration, &doses, &control, at);
        self.send(registration.organization.slug, "VXU^V04", at, bytes);
    }

    /// Panels that fit the person; the first is always drawn.
    fn panels(&mut self, inpatient: bool) -> Vec<Panel> {
        if inpatient {
            return vec![Panel::BloodCount, Panel::Basic];
        }
        let person = self.person;
        let mut panels =
            vec![if self.dice.chance(70) { Panel::Comprehensive } else { Panel::Basic }];
        if person.has("D50.9") || self.dice.chance(40) {
            panels.push(Panel::BloodCount);
        }
        if person.has("E11.9") {
            panels.push(Panel::HemoglobinA1c);
        }
        if person.has("E78.5") || self.dice.chance(20) {
            panels.push(Panel::Lipid);
        }
        if person.has("E03.9") {
            panels.push(Panel::Thyroid);
        }
        if person.has("I48.91") {
            panels.push(Panel::ProthrombinTime);
        }
        panels
    }

    fn laboratory_order(&mut self, at: DateTime, doctor: &'a Member) {
        let Some(registration) = self.registration(LABORATORY) else { return };
        let placed_by = self.organization(doctor.slug);
        for panel in self.panels(false) {
            self.result(&registration, panel, doctor, placed_by, at, None);
        }
    }

    fn result(
        &mut self,
        registration: &Registration<'a>,
        panel: Panel,
        ordering: &'a Member,
        placed_by: &'a Organization,
        ordered: DateTime,
        visit: Option<&Visit<'a>>,
    ) {
        let collected = self.after(ordered, 5, 60);
        let reported = self.after(collected, 60, if visit.is_some() { 150 } else { 1400 });
        let age = self.person.age_on(collected.date());
        let rows = panel.measure(self.person, age, &mut self.dice);
        let filler = self.number(if visit.is_some() { "H" } else { "W" });
        let comment = report::result_comment(&rows, &filler, collected.date(), &mut self.dice);
        if let Some(comment) = &comment {
            self.facts.add(FactKind::ResultText, comment);
        }
        let order = Order {
            control: self.number("OR"),
            placer: self.number("P"),
            filler,
            panel,
            rows: &rows,
            comment: comment.as_deref(),
            ordering,
            placed_by,
            collected,
            reported,
            status: "F",
            visit,
        };
        let bytes = messages::result(registration, &order);
        self.send(registration.organization.slug, "ORU^R01", reported, bytes);
    }

    fn hospital_year(&mut self) {
        let Some(mut registration) = self.registration(HOSPITAL) else { return };
        let organization = registration.organization;
        let stays = 1 + i64::from(self.dice.chance(35));
        for turn in 0..stays {
            let doctor = self.clinician(HOSPITAL);
            let arrived = self.office(20 + turn * 130, 120 + turn * 130);
            let inpatient = self.dice.chance(60);
            let emergency = self.visit(if inpatient { "I" } else { "E" }, arrived, doctor);
            let trigger = if inpatient { "A01" } else { "A04" };
            self.admit(&registration, trigger, arrived, &emergency, None);
            let draws = if inpatient { 2 } else { 1 };
            let days = if inpatient { self.dice.between(2, 5) } else { 0 };
            for draw in 0..draws {
                let at = arrived.saturating_add(SignedDuration::from_hours(draw * 20));
                for panel in self.panels(true) {
                    self.result(&registration, panel, doctor, organization, at, Some(&emergency));
                }
            }
            let corrected = self.after(arrived, 20, 200);
            self.update(&mut registration, corrected, &emergency, 30);
            let leaves = self.after(arrived.saturating_add(days.days()), 260, 420);
            self.admit(&registration, "A03", leaves, &emergency, Some(leaves));
            if inpatient {
                let called = self.spoken_name(TRANSCRIPTION);
                let (from, to) = (arrived.date(), leaves.date());
                let report =
                    report::discharge_summary(self.person, &called, from, to, &mut self.dice);
                self.dictate(report, &emergency, leaves);
            }
        }
        if self.dice.chance(10) {
            let doctor = self.clinician(HOSPITAL);
            self.duplicate(&registration, doctor);
        }
    }

    /// How the record of that organization calls the person, or the true name.
    fn spoken_name(&self, slug: &str) -> String {
        self.registration(slug).map_or_else(
            || format!("{} {}", self.person.given, self.person.family),
            |registration| registration.full_name(),
        )
    }

    /// Has the report typed by the transcription service, if it knows the person.
    fn dictate(&mut self, report: Report, visit: &Visit<'a>, at: DateTime) {
        let Some(registration) = self.registration(TRANSCRIPTION) else { return };
        let dictated = self.after(at, 15, 180);
        let transcribed = self.after(dictated, 120, 1500);
        self.facts.report(&report, |_| true);
        let typists: Vec<_> = self.community.staff_of(TRANSCRIPTION).take(2).collect();
        let typist = *self.dice.pick(&typists);
        let dictation = Dictation {
            control: self.number("QM"),
            document: self.number("D"),
            report: &report,
            author: visit.attending,
            transcriptionist: &format!(
                "T{}^{}^{}",
                typist.given.len() + 40,
                typist.family,
                typist.given
            ),
            visit,
            dictated,
            transcribed,
            status: if self.dice.chance(80) { "AU" } else { "DO" },
        };
        let bytes = messages::document(&registration, &dictation);
        self.send(TRANSCRIPTION, "MDM^T02", transcribed, bytes);
    }

    fn neurology_year(&mut self) {
        let Some(mut registration) = self.registration(NEUROLOGY) else { return };
        let doctor = self.clinician(NEUROLOGY);
        let visits = 1 + self.dice.weighted(&[40, 60]) as i64;
        let asked_by = self
            .primary
            .map_or_else(|| "the emergency department".to_owned(), |m| format!("Dr. {}", m.family));
        for turn in 0..visits {
            let at = self.office(15 + turn * 140, 140 + turn * 140);
            let visit = self.visit("O", at, doctor);
            self.admit(&registration, "A04", at, &visit, None);
            let called = registration.full_name();
            let report =
                report::consultation(self.person, &called, &asked_by, at.date(), &mut self.dice);
            self.facts.report(&report, ccda::narrated);
            let vitals = self.vitals();
            let results = if self.person.has("E03.9") {
                Panel::Thyroid.measure(self.person, self.person.age_on(at.date()), &mut self.dice)
            } else {
                Vec::new()
            };
            let written = self.after(at, 50, 400);
            let summary = Summary {
                document: self.number("CCD"),
                at: written,
                author: doctor,
                visit: &visit,
                report: &report,
                results: &results,
                vitals,
            };
            let bytes = ccda::document(&registration, &summary);
            self.send(NEUROLOGY, "CCD", written, bytes);
            let tracing = turn == 0 && (self.person.has("G40.909") || self.dice.chance(20));
            if tracing {
                let name = self.spoken_name(TRANSCRIPTION);
                let reading =
                    report::electroencephalogram(self.person, &name, at.date(), &mut self.dice);
                self.dictate(reading, &visit, written);
            }
            let name = self.spoken_name(TRANSCRIPTION);
            let report =
                report::consultation(self.person, &name, &asked_by, at.date(), &mut self.dice);
            self.dictate(report, &visit, at);
            let later = self.after(at, 420, 500);
            self.update(&mut registration, later, &visit, 15);
        }
    }

    fn employer_year(&mut self) {
        let Some(registration) = self.registration(EMPLOYER) else { return };
        for turn in 0..1 + self.dice.weighted(&[45, 40, 15]) as i64 {
            let doctor = self.clinician(EMPLOYER);
            let at = self.office(10 + turn * 100, 100 + turn * 100);
            let visit = self.visit("O", at, doctor);
            self.bundle(&registration, &visit, true);
        }
    }

    fn bundle(&mut self, registration: &Registration<'a>, visit: &Visit<'a>, occupational: bool) {
        let at = self.after(visit.at, 25, 55);
        let name = registration.full_name();
        let remark = if occupational {
            let exam = *self.dice.pick(&[
                "annual hearing surveillance",
                "respirator clearance",
                "fitness for duty after absence",
                "forklift operator examination",
                "metalworking fluid skin check",
            ]);
            let restriction = *self.dice.pick(&[
                "no restriction",
                "lifting limited to 25 pounds for two weeks",
                "no work at heights until review",
                "hearing protection at all times",
            ]);
            format!("{name} seen for {exam}: {restriction}, visit {}.", visit.number)
        } else {
            let what = visit.reason.map_or("a routine check", |condition| condition.name);
            format!("{name} seen for {}, visit {}.", what.to_lowercase(), visit.number)
        };
        self.facts.add(FactKind::ResultText, &remark);
        let conditions = if occupational {
            visit.reason.into_iter().collect()
        } else {
            self.person.conditions.clone()
        };
        let temperature_cel = self.dice.bell(36.7, 0.2);
        let findings = Findings { vitals: self.vitals(), temperature_cel, remark, conditions };
        let control = self.number("B");
        let bytes = transaction(registration, visit, &findings, &control, &mut self.dice);
        self.send(registration.organization.slug, "Bundle", at, bytes);
    }

    /// Systolic, diastolic and pulse.
    fn vitals(&mut self) -> [i64; 3] {
        let age = self.person.age_on(self.options.start);
        let high = if self.person.has("I10") { 18 } else { 0 };
        let young = if age < 14 { 16 } else { 0 };
        [
            self.dice.between(108, 128) + high - young,
            self.dice.between(64, 80) + high / 2 - young / 2,
            self.dice.between(58, 90) + young,
        ]
    }
}
