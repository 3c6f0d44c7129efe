//! SPM, and OBR-15 of older messages: what was examined.

use serde_json::{Value, json};

use super::Conversion;
use super::group::Order;
use super::patient::key_of;
use crate::hl7v2::{Part, Segment};
use crate::json::{Object, Put, reference, resource, some};
use crate::natural_key;
use crate::vocabulary::mapped;

impl Conversion<'_> {
    /// The specimens of an order; the reference to the first, which all results
    /// share.
    pub(super) fn specimens(
        &mut self,
        order: &Order<'_>,
        obr: &Segment<'_>,
        order_key: &str,
    ) -> Option<Value> {
        let mut urls = Vec::new();
        for spm in &order.specimens {
            let (specimen, key) = self.specimen(spm, order_key);
            urls.push(self.add(specimen, Some(key)));
        }
        if urls.is_empty() {
            let source = obr.first(15);
            let kind = source.component(1);
            if let Some(code) =
                kind.subcomponent(1).value().or_else(|| kind.subcomponent(2).value())
            {
                let mut specimen = resource("Specimen");
                specimen.put("type", specimen_type(kind, &code));
                specimen.put("subject", Self::subject());
                let mut collection = Object::new();
                collection.put("collectedDateTime", self.reader.date_time(obr.first(7)));
                specimen.put("collection", some(collection));
                specimen.put("receivedTime", self.reader.date_time(obr.first(14)));
                urls.push(self.add(specimen, Some(natural_key("Specimen", &[order_key, &code]))));
            }
        }
        urls.first().map(|url| reference(url))
    }

    fn specimen(&mut self, spm: &Segment<'_>, order_key: &str) -> (Object, String) {
        let mut specimen = resource("Specimen");
        for (number, kind) in [(1, "PLAC"), (2, "FILL")] {
            specimen.push("identifier", self.pair_member(spm.first(2), number, kind));
        }
        specimen.put("accessionIdentifier", self.reader.identifier(spm.first(30)));
        let status = spm.first(20).at(1).and_then(|code| mapped("specimen-status", &code));
        specimen.put("status", status.map(|found| json!(found.code)));
        specimen.put("type", self.reader.table_concept(spm.first(4), "specimen-type", "0487"));
        specimen.put("subject", Self::subject());
        specimen.put("receivedTime", self.reader.date_time(spm.first(18)));
        let mut collection = Object::new();
        let at = |part: Part<'_>| {
            let text = part.subcomponent(1).value()?;
            self.reader.zone.read(&text).map(|moment| json!(moment.date_time()))
        };
        let taken = spm.first(17);
        match (at(taken.component(1)), at(taken.component(2))) {
            (start, Some(end)) => {
                collection.put("collectedPeriod", self.reader.period_of(start, Some(end)))
            }
            (start, None) => collection.put("collectedDateTime", start),
        }
        let amount = spm.first(12);
        if let Some(value) = amount.at(1).and_then(|text| super::datatypes::decimal(&text)) {
            collection.put("quantity", self.reader.quantity(value, amount.component(2)));
        }
        collection
            .put("method", self.reader.table_concept(spm.first(7), "collection-method", "0488"));
        collection.put("bodySite", self.reader.concept(spm.first(8)));
        specimen.put("collection", some(collection));
        for part in spm.field(24).repetitions() {
            specimen.push("condition", self.reader.table_concept(part, "", "0493"));
        }
        let note = spm.first(14).value();
        specimen.push("note", note.map(|text| json!({"text": text})));
        let number = specimen.get("identifier").and_then(|found| found.as_array()?.last());
        let number = number.map(key_of).or_else(|| spm.first(4).at(1)).unwrap_or_default();
        (specimen, natural_key("Specimen", &[order_key, &number]))
    }

    /// One identifier of an EIP: its EI's parts are subcomponents.
    fn pair_member(&self, pair: Part<'_>, number: usize, kind: &str) -> Option<Value> {
        let part = pair.component(number);
        let value = part.subcomponent(1).value()?;
        let [namespace, id, type_] = [2, 3, 4].map(|number| part.subcomponent(number).value());
        let system = if namespace.is_some() || id.is_some() {
            self.reader.system(namespace.as_deref(), id.as_deref(), type_.as_deref())
        } else {
            self.reader.settings.system_of(kind)
        };
        Some(json!({
            "type": super::datatypes::identifier_type(kind),
            "system": system,
            "value": value,
        }))
    }
}

/// SPS.1, a CWE whose parts are subcomponents.
fn specimen_type(part: Part<'_>, code: &str) -> Value {
    let text = part.subcomponent(2).value().unwrap_or_else(|| code.to_owned());
    match mapped("specimen-type", code) {
        Some(found) => json!({
            "coding": [crate::json::coding(found.system, found.code, found.display)],
            "text": text,
        }),
        None => json!({"text": text}),
    }
}
