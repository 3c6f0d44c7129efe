//! The document itself: a DocumentReference that holds the original.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::people::Actors;
use super::xml::{Lookup, Node};
use super::{Conversion, Label};
use crate::converted::{DocumentChange, DocumentChangeKind, Notice, NoticeKind};
use crate::fhir_type::key_of;
use crate::json::{Object, Put, coding, concept, reference, resource, some};
use crate::natural_key;

/// The original's content type (C-CDA is XML of this type, RFC 7303).
const XML: &str = "text/xml";
const FORMATS: &str = "http://ihe.net/fhir/ValueSet/IHE.FormatCode.codesystem";
const CATEGORIES: &str =
    "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category";
/// Characters of a title: FHIR sets no bound, people do.
const TITLE_CHARS_MAX: usize = 1_000;

impl<'d> Conversion<'d> {
    /// Adds the document, and before it the encounter that it is about.
    pub(super) fn document(&mut self, original: &[u8]) {
        let root = self.root;
        let number = root.child("id").and_then(|id| self.reader.identifier(id));
        let confidentiality = root.child("confidentialityCode");
        self.label = confidentiality.and_then(|it| it.attr("code")).and_then(Label::of);
        self.document_key = match &number {
            Some(number) => key_of(number),
            None => {
                self.warn(root, "the document has no number of its own");
                let at = root.child("effectiveTime").and_then(|at| at.attr("value"));
                format!("{}|{}", root.code().unwrap_or_default(), at.unwrap_or_default())
            }
        };
        self.encompassing_encounter();
        let mut document = resource("DocumentReference");
        document.put("masterIdentifier", number.clone());
        document.push("identifier", number);
        let set = root.child("setId").and_then(|id| self.reader.identifier(id));
        document.push("identifier", set);
        document.put("status", json!("current"));
        document.put("type", self.reader.child_concept(root, "code"));
        document.push("category", concept(CATEGORIES, "clinical-note", "Clinical Note"));
        document.put("subject", Self::subject());
        let at = root.child("effectiveTime").and_then(|at| self.reader.moment(at));
        document.put("date", at.as_ref().and_then(|at| at.instant()).map(|at| json!(at)));
        self.document_people(&mut document);
        let key = match document.get("masterIdentifier") {
            Some(number) => natural_key("DocumentReference", &[&key_of(number)]),
            None => natural_key("DocumentReference", &[&self.patient_key, &self.document_key]),
        };
        self.document_relations(&key, &mut document);
        let title = root.child("title").and_then(|title| self.reader.narrative.plain(title));
        let title = title.map(|title| title.chars().take(TITLE_CHARS_MAX).collect::<String>());
        document.put_text("description", title.clone());
        if let Some(label) = confidentiality.and_then(|label| self.reader.coding(label)) {
            document.push("securityLabel", json!({"coding": [label]}));
        }
        let body = root.all("component").find_map(|part| part.child("nonXMLBody"));
        let mut file = Object::new();
        file.put("contentType", json!(XML));
        let language = root.child("languageCode").and_then(|code| code.attr("code"));
        file.put("language", language.map(|code| json!(crate::fhir_type::code_text(code))));
        file.put("data", json!(STANDARD.encode(original)));
        file.put("title", title.clone().map(|title| json!(title)));
        file.put("creation", at.map(|at| json!(at.date_time())));
        let format = if body.is_some() {
            coding(FORMATS, "urn:hl7-org:sdwg:ccda-nonXMLBody:2.1", "")
        } else {
            coding(FORMATS, "urn:hl7-org:sdwg:ccda-structuredBody:2.1", "")
        };
        document.push("content", json!({"attachment": file, "format": format}));
        if let Some(text) = body.and_then(|body| body.child("text")) {
            match self.embedded(text, title) {
                Some(file) => document.push("content", json!({"attachment": file})),
                None => self.warn(text, "the embedded file cannot be read or is elsewhere"),
            }
        }
        self.document_context(&mut document);
        // The original holds what its most restricted part says.
        let around = self.label;
        self.label = around.max(super::section::highest_label(root));
        self.add(document, key);
        self.label = around;
        self.document_notice();
    }

    fn document_people(&mut self, document: &mut Object) {
        let root = self.root;
        let authors: Vec<Node<'d>> =
            root.all("author").filter_map(|author| author.child("assignedAuthor")).collect();
        for role in authors {
            let author = self.actor(role, Actors::All, false);
            document.push("author", author);
        }
        let signed = root.child("legalAuthenticator").or_else(|| root.child("authenticator"));
        if let Some(role) = signed.and_then(|signed| signed.child("assignedEntity")) {
            let signer = self.actor(role, Actors::PeopleAndOrganizations, false);
            document.put("authenticator", signer);
        }
        let custodian =
            root.path(&["custodian", "assignedCustodian", "representedCustodianOrganization"]);
        document.put("custodian", custodian.and_then(|it| self.reader.organization(it)));
    }

    /// What the document replaces or adds to.
    fn document_relations(&mut self, key: &str, document: &mut Object) {
        let related: Vec<Node<'d>> = self.root.all("relatedDocument").collect();
        for link in related {
            let parent = link.path(&["parentDocument", "id"]);
            let parent = parent.and_then(|id| self.reader.identifier(id));
            let (kind, code) = match link.attr("typeCode") {
                Some("RPLC") => (Some(DocumentChangeKind::Replaces), "replaces"),
                Some("APND") => (Some(DocumentChangeKind::Appends), "appends"),
                Some("XFRM") => (None, "transforms"),
                _ => continue,
            };
            let Some(parent) = parent else {
                self.warn(link, "the document replaces or amends another and does not name it");
                continue;
            };
            let target = json!({"type": "DocumentReference", "identifier": parent});
            document.push("relatesTo", json!({"code": code, "target": target}));
            if let Some(kind) = kind {
                let concerns = natural_key("DocumentReference", &[&key_of(&parent)]);
                let change = DocumentChange { document: key.to_owned(), concerns, kind };
                self.converted.document_changes.push(change);
            }
        }
    }

    /// The file of an unstructured document: base64, or text as it stands.
    fn embedded(&self, text: Node<'d>, title: Option<String>) -> Option<Object> {
        let inner: String = text
            .descendants()
            .filter(|node| node.is_text())
            .filter_map(|node| node.text())
            .collect();
        let data = if text.attr("representation") == Some("B64") {
            let compact: String = inner.split_ascii_whitespace().collect();
            let plain = STANDARD.decode(compact.as_bytes()).ok()?;
            STANDARD.encode(plain)
        } else {
            STANDARD.encode(inner.trim())
        };
        if data.is_empty() {
            return None;
        }
        let mut file = Object::new();
        let kind = text.attr("mediaType").unwrap_or("text/plain");
        file.put("contentType", json!(crate::fhir_type::code_text(kind)));
        file.put("data", json!(data));
        file.put_text("title", title);
        Some(file)
    }

    fn document_context(&mut self, document: &mut Object) {
        let event = self.root.all("documentationOf").find_map(|it| it.child("serviceEvent"));
        let mut context = Object::new();
        if let Some(encounter) = self.encounter.clone() {
            context.push("encounter", encounter);
        }
        if let Some(event) = event {
            context.push("event", self.reader.child_concept(event, "code"));
            context.put("period", self.reader.period(&self.reader.effective(event)));
        }
        document.put("context", some(context));
    }

    /// Those to whom the document is addressed, and the primary care providers
    /// that the header names, may be told of it.
    fn document_notice(&mut self) {
        let recipients: Vec<Node<'d>> = self
            .root
            .all("informationRecipient")
            .filter_map(|it| it.child("intendedRecipient"))
            .collect();
        for role in recipients {
            self.actor(role, Actors::People, true);
        }
        let recipients_hint = std::mem::take(&mut self.recipients);
        if !recipients_hint.is_empty() {
            self.converted.notice = Some(Notice { kind: NoticeKind::Report, recipients_hint });
        }
    }

    fn encompassing_encounter(&mut self) {
        let encounter = self.root.path(&["componentOf", "encompassingEncounter"]);
        if let Some(encounter) = encounter {
            self.encounter = self.encounter_of(encounter, None).map(|url| reference(&url));
        }
    }

    /// A note of its own (Note Activity) as DocumentReference.
    pub(super) fn note(&mut self, act: Node<'d>) {
        let Some(text) = act.child("text") else {
            self.warn(act, "a note without text was left out");
            return;
        };
        let is_file = text.attr("representation") == Some("B64");
        let plain = if is_file { None } else { self.reader.narrative.text(text) };
        let file = match plain {
            Some(plain) => {
                let mut file = Object::new();
                file.put("contentType", json!("text/plain; charset=utf-8"));
                file.put("data", json!(STANDARD.encode(plain)));
                Some(file)
            }
            None => self.embedded(text, None),
        };
        let Some(file) = file else {
            self.warn(act, "a note without text was left out");
            return;
        };
        let mut note = resource("DocumentReference");
        for identifier in self.reader.identifiers(act) {
            note.push("identifier", identifier);
        }
        let status = match act.child("statusCode").and_then(|status| status.attr("code")) {
            Some("nullified") => "entered-in-error",
            _ => "current",
        };
        note.put("status", json!(status));
        // The code is "Note" of all of them; its translation says which.
        let code = act.child("code");
        let kind =
            code.and_then(|code| code.all("translation").find_map(|it| self.reader.concept(it)));
        let kind = kind.or_else(|| code.and_then(|code| self.reader.concept(code)));
        note.put("type", kind.clone());
        note.push("category", concept(CATEGORIES, "clinical-note", "Clinical Note"));
        note.put("subject", Self::subject());
        let authors = act.all("author").find_map(|author| author.child("time"));
        let at = authors.and_then(|time| self.reader.moment(time));
        note.put("date", at.and_then(|at| at.instant()).map(|at| json!(at)));
        let author = self.author(act, Actors::All);
        note.push("author", author);
        let shown = super::concept_key(kind.as_ref());
        note.push("content", json!({"attachment": Value::Object(file)}));
        let mut context = Object::new();
        context.push("encounter", self.encounter.clone());
        let interval = self.reader.effective(act);
        let start = interval.start();
        context.put("period", self.reader.period(&interval));
        note.put("context", some(context));
        let start = start.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
        self.add_statement("DocumentReference", note, "", &["note", &shown, &start]);
    }
}
