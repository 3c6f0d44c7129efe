//! ORC and OBR: orders and the reports that answer them.

use serde_json::{Value, json};

use super::Conversion;
use super::group::{Groups, Order};
use super::patient::key_of;
use super::value::attachment;
use crate::converted::{Issue, Refusal};
use crate::hl7v2::{Part, Segment};
use crate::json::{Object, Put, concept, reference, resource};
use crate::natural_key;
use crate::vocabulary::mapped;

pub(super) const OBSERVATION_CATEGORY: &str =
    "http://terminology.hl7.org/CodeSystem/observation-category";

/// What the observations of an order share.
pub(super) struct Scope {
    /// Number of the order, for natural keys.
    pub key: String,
    /// When it was observed, where the OBX does not say.
    pub effective: Option<Value>,
    pub issued: Option<Value>,
    pub category: Option<&'static str>,
    pub specimen: Option<Value>,
    pub request: Option<Value>,
    /// OBR-25 as an observation status, for an OBX without one.
    pub status: Option<&'static str>,
    /// Whether files among the results go to a report.
    pub has_report: bool,
}

/// What became of the results of an order.
#[derive(Default)]
pub(super) struct Results {
    pub references: Vec<Value>,
    pub files: Vec<Value>,
    pub statuses: Vec<&'static str>,
}

impl Conversion<'_> {
    pub(super) fn order(&mut self, order: &Order<'_>) -> Result<(), Refusal> {
        self.check_bound()?;
        if let Some(rxa) = order.rxa {
            return self.immunization(order, &rxa);
        }
        let Some(obr) = order.obr else { return self.order_without_request(order) };
        let key = self.order_key(order, &obr);
        let is_order = self.event.is_order();
        let specimen = self.specimens(order, &obr, &key);
        let request = self.service_request(order, &obr, &key, is_order);
        let effective = self.reader.date_time(obr.first(7));
        let issued = self.reader.moment(obr.first(22)).and_then(|moment| moment.instant());
        let section = obr.first(24).at(1).unwrap_or_default();
        let by_section = mapped("observation-category", &section).map(|found| found.code);
        let is_result = self.event.message_type == "ORU";
        let mut scope = Scope {
            key,
            effective,
            issued: issued.map(Value::String),
            category: by_section.or(is_result.then_some("laboratory")),
            specimen,
            request,
            status: None,
            has_report: !is_order,
        };
        let sent = obr.first(25).at(1).unwrap_or_default();
        scope.status = match mapped("report-status", &sent).map(|found| found.code) {
            Some(code @ ("registered" | "preliminary" | "final" | "corrected" | "cancelled")) => {
                Some(code)
            }
            Some("partial") => Some("preliminary"),
            _ => None,
        };
        let results = self.findings(&order.findings, &scope)?;
        if !is_order {
            self.report(&obr, &scope, results, &sent);
        }
        Ok(())
    }

    /// RXE, RXO and the like are not converted; results below are.
    fn order_without_request(&mut self, order: &Order<'_>) -> Result<(), Refusal> {
        let Some(orc) = order.orc else {
            return self.stray_specimens(order);
        };
        let text = "an order without OBR or RXA is kept in the original and not converted";
        self.issue(Issue::information(Self::place(&orc, 0), text));
        let number = self.number(&[orc.first(3), orc.first(2)]).unwrap_or_default();
        let key = if number.is_empty() { self.patient_key.clone() } else { number };
        let scope = Scope {
            key,
            effective: None,
            issued: None,
            category: None,
            specimen: None,
            request: None,
            status: None,
            has_report: false,
        };
        self.findings(&order.findings, &scope)?;
        Ok(())
    }

    fn stray_specimens(&mut self, order: &Order<'_>) -> Result<(), Refusal> {
        for spm in &order.specimens {
            let text = "a specimen that belongs to no order is not converted";
            self.issue(Issue::warning(Self::place(spm, 0), text));
        }
        Ok(())
    }

    /// `system|value` of the first EI that has a value. A number that names no
    /// authority is the sending application's: another one of the same
    /// organization may well count from 1 too.
    fn number(&self, parts: &[Part<'_>]) -> Option<String> {
        let found = parts.iter().find_map(|part| self.reader.entity(*part, None))?;
        if found.get("system").is_some() {
            return Some(key_of(&found));
        }
        let sender = &self.converted.sender;
        let names =
            [&sender.application, &sender.facility].map(|name| name.clone().unwrap_or_default());
        Some(format!("{}/{}{}", names[0], names[1], key_of(&found)))
    }

    /// The filler's number and what was asked for; the placer's where the filler
    /// gave none; patient and time where nobody gave one.
    fn order_key(&mut self, order: &Order<'_>, obr: &Segment<'_>) -> String {
        let orc = |number: usize| order.orc.map(|orc| orc.first(number));
        let fields = [Some(obr.first(3)), orc(3), Some(obr.first(2)), orc(2)];
        let fields: Vec<Part<'_>> = fields.into_iter().flatten().collect();
        let service = obr.first(4);
        let asked = service.at(1).or_else(|| service.at(2)).unwrap_or_default();
        match self.number(&fields) {
            Some(number) => format!("{number}|{asked}"),
            None => {
                let at = self.reader.moment(obr.first(7)).map(|moment| moment.date_time());
                let place = self.converted.control_id.clone().unwrap_or_default();
                format!("{}|{asked}|{}", self.patient_key, at.unwrap_or(place))
            }
        }
    }

    fn order_identifiers(&self, order: &Order<'_>, obr: &Segment<'_>, object: &mut Object) {
        for (number, kind) in [(2, "PLAC"), (3, "FILL")] {
            let own = self.reader.entity(obr.first(number), Some(kind));
            let common =
                || order.orc.and_then(|orc| self.reader.entity(orc.first(number), Some(kind)));
            object.push("identifier", own.or_else(common));
        }
    }

    /// The request behind a report, when somebody ordered it or there are notes
    /// on it; always in an order message.
    fn service_request(
        &mut self,
        order: &Order<'_>,
        obr: &Segment<'_>,
        key: &str,
        is_order: bool,
    ) -> Option<Value> {
        let mut request = resource("ServiceRequest");
        self.order_identifiers(order, obr, &mut request);
        let ordered_by = order
            .orc
            .map(|orc| self.practitioners(orc.field(12), true))
            .filter(|people| !people.is_empty())
            .unwrap_or_else(|| self.practitioners(obr.field(16), true));
        if !is_order && ordered_by.is_empty() && order.notes.is_empty() {
            return None;
        }
        let code_of = |map: &str, number: usize| {
            let code = order.orc.and_then(|orc| orc.first(number).at(1))?;
            mapped(map, &code).map(|found| found.code)
        };
        let reported = matches!(obr.first(25).at(1).as_deref(), Some("F" | "C"));
        let status = match (code_of("order-status", 5), is_order) {
            (Some(status), _) => status,
            (None, true) => code_of("order-control", 1).unwrap_or("active"),
            (None, false) if reported => "completed",
            (None, false) => "active",
        };
        request.put("status", json!(status));
        request.put(
            "intent",
            json!(if obr.first(11).at(1).as_deref() == Some("G") {
                "reflex-order"
            } else {
                "order"
            }),
        );
        let priority = obr.first(5).at(1).and_then(|code| mapped("priority", &code));
        request.put("priority", priority.map(|found| json!(found.code)));
        request.put("code", self.reader.concept(obr.first(4)));
        request.put("subject", Self::subject());
        request.put("encounter", self.encounter.clone());
        request.put("occurrenceDateTime", self.reader.date_time(obr.first(6)));
        request.put("authoredOn", order.orc.and_then(|orc| self.reader.date_time(orc.first(9))));
        request.put("requester", ordered_by.into_iter().next());
        for part in obr.field(31).repetitions() {
            request.push("reasonCode", self.reader.concept(part));
        }
        for note in &order.notes {
            request.push("note", note_of(note));
        }
        let url = self.add(request, Some(natural_key("ServiceRequest", &[key])));
        Some(reference(&url))
    }

    fn report(&mut self, obr: &Segment<'_>, scope: &Scope, results: Results, sent: &str) {
        let mut report = resource("DiagnosticReport");
        let order = Order { obr: Some(*obr), ..Order::default() };
        self.order_identifiers(&order, obr, &mut report);
        if let Some(request) = scope.request.clone() {
            // The request knows the numbers of the common order, too.
            let identifiers = request
                .get("reference")
                .and_then(Value::as_str)
                .map(str::to_owned)
                .and_then(|url| self.added(&url)?.get("identifier").cloned());
            if !report.contains_key("identifier") {
                report.put("identifier", identifiers);
            }
            report.push("basedOn", request);
        }
        report.put("status", json!(self.report_status(obr, sent, &results)));
        for part in obr.field(24).repetitions() {
            report.push("category", self.reader.table_concept(part, "service-section", "0074"));
        }
        if !report.contains_key("category") && scope.category == Some("laboratory") {
            let laboratory =
                concept("http://terminology.hl7.org/CodeSystem/v2-0074", "LAB", "Laboratory");
            report.push("category", laboratory);
        }
        match self.reader.concept(obr.first(4)) {
            Some(code) => report.put("code", code),
            None => {
                report.put("code", json!({"text": "not stated"}));
                self.issue(Issue::warning(
                    Self::place(obr, 4),
                    "the report does not say of what it is",
                ));
            }
        }
        report.put("subject", Self::subject());
        report.put("encounter", self.encounter.clone());
        match (scope.effective.clone(), self.reader.date_time(obr.first(8))) {
            (start, Some(end)) => {
                report.put("effectivePeriod", self.reader.period_of(start, Some(end)))
            }
            (start, None) => report.put("effectiveDateTime", start),
        }
        report.put("issued", scope.issued.clone());
        report.push("resultsInterpreter", self.named_person(obr.field(32)));
        report.push("specimen", scope.specimen.clone());
        report.put("result", Value::Array(results.references));
        for file in results.files {
            report.push("presentedForm", file);
        }
        let key = natural_key("DiagnosticReport", &[&scope.key]);
        self.add(report, Some(key));
    }

    /// OBR-25; a final report with a corrected result is corrected. Without
    /// OBR-25: what the results have in common.
    fn report_status(&mut self, obr: &Segment<'_>, sent: &str, results: &Results) -> &'static str {
        let has = |status: &str| results.statuses.contains(&status);
        match mapped("report-status", sent).map(|found| found.code) {
            Some("final") if has("corrected") => "corrected",
            Some(status) => status,
            None => {
                self.issue(Issue::warning(Self::place(obr, 25), "the report has no known status"));
                let all_final = results.statuses.iter().all(|status| *status == "final");
                if results.statuses.is_empty() {
                    "unknown"
                } else if has("corrected") {
                    "corrected"
                } else if all_final {
                    "final"
                } else if has("preliminary") || has("registered") {
                    "preliminary"
                } else {
                    "unknown"
                }
            }
        }
    }

    /// OBX of the visit itself (height and weight on admission, and the like).
    pub(super) fn loose_findings(&mut self, groups: &Groups<'_>) -> Result<(), Refusal> {
        if self.message.segment("TXA").is_some() {
            return Ok(());
        }
        let key = self.visit_key.clone().unwrap_or_default();
        let evn = self.message.segment("EVN");
        let scope = Scope {
            key: format!("{}|{key}", self.patient_key),
            effective: evn.and_then(|evn| self.reader.date_time(evn.first(2))),
            issued: None,
            category: None,
            specimen: None,
            request: None,
            status: None,
            has_report: false,
        };
        self.findings(&groups.findings, &scope)?;
        Ok(())
    }

    /// A file among results: with a report, a form of it; without, a document of
    /// its own.
    pub(super) fn file(&mut self, obx: &Segment<'_>, scope: &Scope, results: &mut Results) {
        for part in obx.field(5).repetitions() {
            let kind = obx.first(2).at(1).unwrap_or_default();
            let title = obx.first(3).at(2).or_else(|| obx.first(3).at(1));
            match attachment(&part, &kind, title) {
                Some(file) if scope.has_report => results.files.push(file),
                Some(file) => self.stray_file(obx, scope, file),
                None => {
                    let text = "the attachment cannot be read";
                    self.issue(Issue::error(Self::place(obx, 5), text));
                }
            }
        }
    }

    fn stray_file(&mut self, obx: &Segment<'_>, scope: &Scope, file: Value) {
        let mut document = resource("DocumentReference");
        document.put("status", json!("current"));
        document.put("type", self.reader.concept(obx.first(3)));
        document.put("subject", Self::subject());
        document.push("content", json!({"attachment": file}));
        let name = obx.first(3).at(1).unwrap_or_default();
        let sub_id = obx.first(4).value().unwrap_or_default();
        let key = natural_key("DocumentReference", &[&scope.key, &name, &sub_id]);
        self.add(document, Some(key));
    }
}

/// NTE to Annotation.
pub(super) fn note_of(nte: &Segment<'_>) -> Option<Value> {
    let lines: Vec<String> =
        nte.field(3).repetitions().map(|part| part.text().trim_end().to_owned()).collect();
    let text = lines.join("\n");
    (!text.trim().is_empty()).then(|| json!({"text": text}))
}

/// The notes below a finding as one annotation: each NTE is a line.
pub(super) fn notes_of(notes: &[Segment<'_>]) -> Option<Value> {
    let lines: Vec<String> = notes
        .iter()
        .filter_map(note_of)
        .filter_map(|note| note.get("text").and_then(Value::as_str).map(str::to_owned))
        .collect();
    (!lines.is_empty()).then(|| json!({"text": lines.join("\n")}))
}
