//! TXA: dictated reports and other documents (MDM T01 to T11).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Conversion;
use super::group::{Finding, Groups};
use super::patient::key_of;
use super::value::attachment;
use crate::converted::{DocumentChange, DocumentChangeKind, Issue};
use crate::hl7v2::{Part, Segment};
use crate::json::{Object, Put, coding, resource, some};
use crate::natural_key;
use crate::vocabulary::mapped;

impl Conversion<'_> {
    pub(super) fn documents(&mut self, groups: &Groups<'_>) {
        let message = self.message;
        let Some(txa) = message.segment("TXA") else { return };
        let mut document = resource("DocumentReference");
        let number = self.document_number(txa.first(12));
        let key = self.document_key(number.as_ref(), &txa);
        document.put("masterIdentifier", number.clone());
        document.push("identifier", number);
        for (field, kind) in [(14, "PLAC"), (15, "FILL")] {
            document.push("identifier", self.reader.entity(txa.first(field), Some(kind)));
        }
        self.document_state(&txa, &mut document);
        document.put("type", self.reader.table_concept(txa.first(2), "", "0270"));
        document.push(
            "category",
            json!({"coding": [coding(
                "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category",
                "clinical-note",
                "Clinical Note",
            )]}),
        );
        document.put("subject", Self::subject());
        let at = [7, 6, 4].into_iter().find_map(|field| {
            self.reader.moment(txa.first(field)).and_then(|moment| moment.instant())
        });
        document.put_text("date", at);
        for author in self.practitioners(txa.field(9), false) {
            document.push("author", author);
        }
        let signer = self.practitioner(txa.field(22), false);
        let signer = signer.or_else(|| self.practitioner(txa.field(10), false));
        document.put("authenticator", signer);
        self.practitioners(txa.field(5), true);
        self.practitioners(txa.field(23), true);
        self.document_relation(&txa, &key, &mut document);
        document.put_text("description", txa.first(25).value());
        let label = txa.first(18).at(1);
        if let Some(found) = label.and_then(|code| mapped("document-confidentiality", &code)) {
            let label = json!({"coding": [coding(found.system, found.code, found.display)]});
            document.push("securityLabel", label);
            // Sealing goes by `meta.security`.
            if matches!(found.code, "R" | "V") {
                let system = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
                let display = if found.code == "R" { "restricted" } else { "very restricted" };
                document.put("meta", json!({"security": [coding(system, found.code, display)]}));
            }
        }
        self.document_content(groups, &txa, &mut document);
        let mut context = Object::new();
        context.push("encounter", self.encounter.clone());
        context.put("period", self.reader.period_of(self.reader.date_time(txa.first(4)), None));
        document.put("context", some(context));
        self.add(document, Some(key));
    }

    /// EI of a document. One that names no authority is the sending application's.
    fn document_number(&self, part: Part<'_>) -> Option<Value> {
        let mut number = self.reader.entity(part, None)?;
        let application = self.converted.sender.application.clone().unwrap_or_default();
        let system = self.reader.settings.system_of(&format!("documents {application}"));
        number.as_object_mut()?.entry("system").or_insert_with(|| json!(system));
        Some(number)
    }

    fn document_key(&mut self, number: Option<&Value>, txa: &Segment<'_>) -> String {
        if let Some(number) = number {
            return natural_key("DocumentReference", &[&key_of(number)]);
        }
        self.issue(Issue::warning(Self::place(txa, 12), "the document has no number of its own"));
        let kind = txa.first(2).at(1).unwrap_or_default();
        let at = self.reader.moment(txa.first(6)).or_else(|| self.reader.moment(txa.first(4)));
        let at = at.map(|at| at.date_time()).or_else(|| self.converted.control_id.clone());
        self.patient_bound_key("DocumentReference", &[&kind, &at.unwrap_or_default()])
    }

    /// TXA-19 and the event to `status`, TXA-17 to `docStatus`.
    fn document_state(&mut self, txa: &Segment<'_>, document: &mut Object) {
        let cancelled = self.event.message_type == "MDM" && self.event.trigger == "T11";
        let availability = txa.first(19).at(1).unwrap_or_default();
        let status = match mapped("availability", &availability) {
            _ if cancelled => "entered-in-error",
            Some(found) => found.code,
            None => "current",
        };
        document.put("status", json!(status));
        if status == "entered-in-error" {
            document.put("docStatus", json!("entered-in-error"));
        } else if let Some(code) = txa.first(17).at(1) {
            match mapped("document-status", &code) {
                Some(found) => document.put("docStatus", json!(found.code)),
                None => self.issue(Issue::warning(
                    Self::place(txa, 17),
                    "document completion status is not known",
                )),
            }
        }
    }

    /// Replacement, addendum, edit, status change, cancellation.
    fn document_relation(&mut self, txa: &Segment<'_>, key: &str, document: &mut Object) {
        if self.event.message_type != "MDM" {
            return;
        }
        let parent = self.document_number(txa.first(13));
        let (kind, code) = match self.event.trigger.as_str() {
            "T03" | "T04" => (DocumentChangeKind::Status, None),
            "T05" | "T06" => (DocumentChangeKind::Appends, Some("appends")),
            "T07" | "T08" => (DocumentChangeKind::Edits, None),
            "T09" | "T10" => (DocumentChangeKind::Replaces, Some("replaces")),
            "T11" => (DocumentChangeKind::Cancels, None),
            _ => return,
        };
        let concerns = match (code, &parent) {
            (Some(code), Some(parent)) => {
                let target = json!({"type": "DocumentReference", "identifier": parent});
                document.push("relatesTo", json!({"code": code, "target": target}));
                natural_key("DocumentReference", &[&key_of(parent)])
            }
            (Some(_), None) => {
                let text = "the document replaces or amends another and does not name it";
                self.issue(Issue::warning(Self::place(txa, 13), text));
                return;
            }
            (None, _) => key.to_owned(),
        };
        let change = DocumentChange { document: key.to_owned(), concerns, kind };
        self.converted.document_changes.push(change);
    }

    /// Text lines are one plain-text attachment; each file is one of its own.
    fn document_content(&mut self, groups: &Groups<'_>, txa: &Segment<'_>, document: &mut Object) {
        let mut lines: Vec<String> = Vec::new();
        let title = txa.first(25).value().or_else(|| txa.first(2).at(2));
        for Finding { obx, notes } in &groups.findings {
            let kind = obx.first(2).at(1).unwrap_or_default().to_ascii_uppercase();
            if matches!(kind.as_str(), "ED" | "RP") {
                for part in obx.field(5).repetitions() {
                    match attachment(&part, &kind, title.clone()) {
                        Some(file) => document.push("content", json!({"attachment": file})),
                        None => {
                            let text = "the attachment cannot be read";
                            self.issue(Issue::error(Self::place(obx, 5), text));
                        }
                    }
                }
            } else if matches!(kind.as_str(), "" | "TX" | "FT" | "ST") {
                let parts = obx.field(5).repetitions();
                let text: Vec<String> =
                    parts.map(|part| part.text().trim_end().to_owned()).collect();
                lines.push(text.join("\n"));
            } else if let Some(text) = obx.field(5).value() {
                let name = obx.first(3).at(2).or_else(|| obx.first(3).at(1));
                lines.push(name.map_or(text.clone(), |name| format!("{name}: {text}")));
            }
            let notes = notes.iter().filter_map(super::order::note_of);
            let notes = notes.filter_map(|note| Some(note.get("text")?.as_str()?.to_owned()));
            lines.extend(notes);
        }
        let text = lines.join("\n");
        if !text.trim().is_empty() {
            let mut file = Object::new();
            file.put("contentType", json!("text/plain; charset=utf-8"));
            file.put("data", json!(STANDARD.encode(text.as_bytes())));
            file.put_text("title", title.clone());
            let whole = json!({"attachment": file});
            match document.get_mut("content").and_then(Value::as_array_mut) {
                Some(content) => content.insert(0, whole),
                None => document.push("content", whole),
            }
        }
        if !document.contains_key("content") {
            // T01, T03, T05, T07, T09 and T11 tell of a document without it.
            let title = title.unwrap_or_else(|| "content not sent".to_owned());
            document.push("content", json!({"attachment": {"title": title}}));
            if matches!(self.event.trigger.as_str(), "T02" | "T04" | "T06" | "T08" | "T10") {
                let text = "the message should hold the document and holds none";
                self.issue(Issue::warning("OBX", text));
            }
        }
    }
}
