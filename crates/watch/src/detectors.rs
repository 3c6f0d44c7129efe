//! The detectors: one entry in, what each makes of it out.

use holdfast_base::{PatientId, PrincipalId, Purpose, Timestamp};
use holdfast_ledger::{Entry, Event};

use crate::finding::{HONEY_PATIENT, KEEPER_BUDGET, NO_RELATIONSHIP, PROBING, RECONCILIATION};
use crate::watch::Subject;
use crate::{Response, Severity, Watch};

/// Alerts of the keeper about budgets that are no principal's own.
const SHARED_BUDGETS: [&str; 2] = ["organization-budget", "service-budget"];

/// What a detector says about one entry.
pub(crate) struct Detected {
    pub(crate) detector: &'static str,
    pub(crate) subject: Subject,
    pub(crate) principal: PrincipalId,
    pub(crate) severity: Severity,
    pub(crate) response: Response,
    pub(crate) patients: Vec<PatientId>,
    /// The earliest and the latest entry that it rests on.
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    /// The sentence, given how many patients stand behind the grown finding.
    pub(crate) summary: Box<dyn Fn(usize) -> String>,
}

/// A patient's record as it was opened by somebody: of a key release or an
/// access.
struct Opened<'a> {
    patient: PatientId,
    purpose: Purpose,
    /// For accesses only.
    relationship: Option<&'a str>,
}

fn opened(event: &Event) -> Option<Opened<'_>> {
    let opened = match event {
        Event::KeyRelease { patient, purpose, .. } => {
            Opened { patient: *patient, purpose: *purpose, relationship: None }
        }
        Event::Access { patient, purpose, relationship, .. } => {
            Opened { patient: *patient, purpose: *purpose, relationship: Some(relationship) }
        }
        _ => return None,
    };
    (!opened.patient.is_nobody()).then_some(opened)
}

/// `1 patient`, `2 patients`.
fn patients(count: usize) -> String {
    if count == 1 { "1 patient".into() } else { format!("{count} patients") }
}

/// `90 seconds`, `15 minutes`, `24 hours`.
fn span(millis: i64) -> String {
    let unit = |count: i64, name: &str| match count {
        1 => format!("1 {name}"),
        _ => format!("{count} {name}s"),
    };
    match millis / 1_000 {
        s if s >= 3_600 && s % 3_600 == 0 => unit(s / 3_600, "hour"),
        s if s >= 60 && s % 60 == 0 => unit(s / 60, "minute"),
        s => unit(s, "second"),
    }
}

impl Watch {
    pub(crate) fn detect(&mut self, entry: &Entry) -> Vec<Detected> {
        self.note_release(entry);
        [
            self.keeper_budget(entry),
            self.no_relationship(entry),
            self.honey_patient(entry),
            self.probing(entry),
            self.reconciliation(entry),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn role_is(&self, principal: &PrincipalId, role: &str) -> bool {
        self.roles.get(principal).is_some_and(|known| known == role)
    }

    /// Remembers whose keys a principal was given, to say whom it reached
    /// before its budget was used up. Intake opens records all day; its
    /// releases are in the ledger and not repeated here.
    fn note_release(&mut self, entry: &Entry) {
        let Event::KeyRelease { purpose, .. } = &entry.event else { return };
        let Some(opened) = opened(&entry.event) else { return };
        let principal = &entry.actor.principal;
        if *purpose == Purpose::Operations && self.role_is(principal, "system") {
            return;
        }
        let keep_ms = self.settings.finding_window_ms;
        let recent = self.released.entry(principal.clone()).or_default();
        recent.note(opened.patient, entry.at, keep_ms);
    }

    /// The keeper says that somebody is over budget: by its own alert, or by
    /// the refusal.
    fn keeper_budget(&self, entry: &Entry) -> Option<Detected> {
        let mut response = Response::Suspend;
        let principal = match &entry.event {
            Event::Alert { detector, principal, .. } if detector == KEEPER_BUDGET => principal,
            // What many have used up together is found, and nobody is suspended for it.
            Event::Alert { detector, principal, .. }
                if SHARED_BUDGETS.contains(&detector.as_str()) =>
            {
                response = Response::None;
                principal
            }
            Event::Refusal { door, reason, .. } if door == "keeper" && reason == "over-budget" => {
                &entry.actor.principal
            }
            _ => return None,
        };
        let window_ms = self.settings.finding_window_ms;
        let mut first = entry.at;
        let mut reached = Vec::new();
        if let Some(recent) = self.released.get(principal) {
            for (patient, at) in recent.within(window_ms) {
                first = first.min(at);
                reached.push(*patient);
            }
        }
        Some(Detected {
            detector: KEEPER_BUDGET,
            subject: Subject::Principal(principal.clone()),
            principal: principal.clone(),
            severity: Severity::Critical,
            response,
            patients: reached,
            first,
            last: entry.at,
            summary: Box::new(|count| {
                format!("budget used up after the keys of {} were released", patients(count))
            }),
        })
    }

    /// Ledger and store do not agree: the alert says where. Nobody is suspended for it:
    /// it may be a fault of ours.
    fn reconciliation(&self, entry: &Entry) -> Option<Detected> {
        let Event::Alert { detector, principal, severity, summary, .. } = &entry.event else {
            return None;
        };
        if detector != RECONCILIATION {
            return None;
        }
        // A notice is what a crash leaves behind: for the list, not for somebody's desk.
        let severity = match severity.as_str() {
            "critical" => Severity::Critical,
            "serious" => Severity::Serious,
            _ => return None,
        };
        let summary = summary.clone();
        Some(Detected {
            detector: RECONCILIATION,
            subject: Subject::Principal(principal.clone()),
            principal: principal.clone(),
            severity,
            response: Response::None,
            patients: Vec::new(),
            first: entry.at,
            last: entry.at,
            summary: Box::new(move |_| summary.clone()),
        })
    }

    /// Treatment of many patients with whom no relationship is documented.
    fn no_relationship(&mut self, entry: &Entry) -> Option<Detected> {
        let access = opened(&entry.event)?;
        let treats = matches!(access.purpose, Purpose::Treatment | Purpose::EmergencyTreatment);
        let unrelated = matches!(access.relationship?, "organization" | "none");
        let principal = &entry.actor.principal;
        let exempt = self
            .roles
            .get(principal)
            .is_some_and(|role| self.settings.unrelated_exempt_roles.contains(role));
        if !treats || !unrelated || exempt {
            return None;
        }
        let keep_ms = self.settings.unrelated_window_max_ms();
        let recent = self.unrelated.entry(principal.clone()).or_default();
        recent.note(access.patient, entry.at, keep_ms);

        // Of the limits that are reached, the widest tells whom it is about
        // and the gravest what to do.
        let mut response = Response::None;
        let mut widest: Option<(i64, Vec<PatientId>, Timestamp)> = None;
        for limit in &self.settings.unrelated {
            let seen: Vec<_> = recent.within(limit.window_ms).collect();
            if seen.len() < limit.serious_patients {
                continue;
            }
            if seen.len() >= limit.suspend_patients {
                response = Response::Suspend;
            }
            if widest.as_ref().is_none_or(|(_, patients, _)| seen.len() > patients.len()) {
                let first = seen.iter().map(|(_, at)| *at).min().unwrap_or(entry.at);
                let patients = seen.into_iter().map(|(patient, _)| *patient).collect();
                widest = Some((limit.window_ms, patients, first));
            }
        }
        let last = recent.latest();
        let (window_ms, unrelated, first) = widest?;
        let severity = match response {
            Response::Suspend => Severity::Critical,
            Response::None => Severity::Serious,
        };
        Some(Detected {
            detector: NO_RELATIONSHIP,
            subject: Subject::Principal(principal.clone()),
            principal: principal.clone(),
            severity,
            response,
            patients: unrelated,
            first,
            last,
            summary: Box::new(move |count| {
                let limit = span(window_ms);
                format!(
                    "{} opened for treatment without a documented relationship (limit for {limit})",
                    patients(count)
                )
            }),
        })
    }

    /// A record that stands for nobody was opened. Only intake has a reason to.
    /// The privacy office, which investigates and composes notices, is told and
    /// not suspended: it would otherwise lock itself out of its own incident.
    fn honey_patient(&self, entry: &Entry) -> Option<Detected> {
        let opened = opened(&entry.event)?;
        let principal = &entry.actor.principal;
        let intake = opened.purpose == Purpose::Operations && self.role_is(principal, "system");
        if !self.honey.contains(&opened.patient) || intake {
            return None;
        }
        let office =
            opened.purpose == Purpose::Compliance && self.role_is(principal, "privacy-officer");
        let (severity, response) = match office {
            true => (Severity::Notice, Response::None),
            false => (Severity::Critical, Response::Suspend),
        };
        Some(Detected {
            detector: HONEY_PATIENT,
            subject: Subject::Principal(principal.clone()),
            principal: principal.clone(),
            severity,
            response,
            patients: vec![opened.patient],
            first: entry.at,
            last: entry.at,
            summary: Box::new(|count| {
                let records = if count == 1 { "record" } else { "records" };
                format!("{count} honey {records} opened, which nobody has a reason to open")
            }),
        })
    }

    /// A burst of refusals from one address (or, without one, of one
    /// principal). Refused intake is a sender's fault and the keeper's refusals
    /// have a detector of their own: neither counts.
    fn probing(&mut self, entry: &Entry) -> Option<Detected> {
        let Event::Refusal { door, .. } = &entry.event else { return None };
        if !matches!(door.as_str(), "sign-in" | "token" | "input" | "policy") {
            return None;
        }
        let subject = match &entry.actor.address {
            Some(address) => Subject::Address(address.clone()),
            None => Subject::Principal(entry.actor.principal.clone()),
        };
        let window_ms = self.settings.probing_window_ms;
        self.refusals_count += 1;
        let recent = self.refusals.entry(subject.clone()).or_default();
        recent.note(self.refusals_count, entry.at, window_ms);
        let seen: Vec<_> = recent.within(window_ms).map(|(_, at)| at).collect();
        if seen.len() < self.settings.probing_refusals {
            return None;
        }
        let (refusals_min, within) = (self.settings.probing_refusals, span(window_ms));
        Some(Detected {
            detector: PROBING,
            subject,
            principal: entry.actor.principal.clone(),
            severity: Severity::Notice,
            response: Response::None,
            patients: Vec::new(),
            first: seen.iter().copied().min().unwrap_or(entry.at),
            last: recent.latest(),
            summary: Box::new(move |_| {
                format!("{refusals_min} or more refusals from one place within {within}")
            }),
        })
    }
}
