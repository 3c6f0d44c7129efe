//! Procedure activities, whatever CDA class they come in.

use serde_json::json;

use super::people::Actors;
use super::xml::{Lookup, Node};
use super::{Conversion, concept_key, time_key};
use crate::json::{Put, resource};
use crate::vocabulary::mapped;

impl<'d> Conversion<'d> {
    pub(super) fn procedure(&mut self, node: Node<'d>) {
        let code = self.reader.child_concept(node, "code");
        let text = || self.said(node).map(|text| json!({"text": text}));
        let Some(code) = code.or_else(text) else {
            self.warn(node, "a procedure that says nothing of what it is was left out");
            return;
        };
        if self.is_nothing(node, &code) {
            return;
        }
        let mut procedure = resource("Procedure");
        for identifier in self.reader.identifiers(node) {
            procedure.push("identifier", identifier);
        }
        let status = node.child("statusCode").and_then(|status| status.attr("code"));
        let found = status.and_then(|status| mapped("ccda-procedure-status", status));
        let status = match found.map(|found| found.code) {
            Some("entered-in-error") => "entered-in-error",
            _ if node.is_negated() => "not-done",
            Some(code) => code,
            None => "unknown",
        };
        let locations = self.contain_locations(node, &mut procedure);
        procedure.put("status", json!(status));
        procedure.put("code", code);
        procedure.put("subject", Self::subject());
        let interval = self.reader.effective(node);
        self.reader.put_time(&mut procedure, "performed", &interval);
        if time_key(&procedure, &["performedDateTime", "performedPeriod"]).is_empty() {
            procedure.put("_performedDateTime", super::datatypes::data_absent("unknown"));
        }
        let recorder = self.author(node, Actors::People);
        procedure.put("recorder", recorder);
        for actor in self.performers(node, Actors::PeopleAndOrganizations) {
            procedure.push("performer", json!({"actor": actor}));
        }
        procedure.put("location", locations.into_iter().next());
        self.reasons(node, &mut procedure);
        for site in node.all("targetSiteCode") {
            procedure.push("bodySite", self.reader.concept(site));
        }
        // A procedure of the class observation has what was found as its value.
        procedure.put("outcome", self.reader.child_concept(node, "value"));
        self.notes(node, &mut procedure);
        let name = concept_key(procedure.get("code"));
        let at = time_key(&procedure, &["performedDateTime", "performedPeriod"]);
        self.add_statement("Procedure", procedure, "", &[&name, &at]);
    }
}
