//! HL7 v2 data types to FHIR data types, as HL7's v2-to-FHIR guide maps them.

use std::cell::Cell;

use serde_json::{Value, json};

use crate::converted::Settings;
pub(super) use crate::fhir_type::{
    NPI_SYSTEM, UCUM_SYSTEM, code_text, decimal, identifier_type, social_security_number,
};
use crate::fhir_type::{is_before, put_ucum};
use crate::hl7v2::Part;
use crate::json::{Object, Put, coding, some};
use crate::time::{Moment, Zone};
use crate::vocabulary::{code_system, mapped, ucum};

/// Reads data types of one message.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    pub settings: &'a Settings,
    pub zone: Zone,
    /// Periods that ended before they began.
    pub reversed_count: Cell<usize>,
}

impl Reader<'_> {
    /// The time in a part; a TS's precision component is passed over.
    pub fn moment(&self, part: Part<'_>) -> Option<Moment> {
        self.zone.read(&part.component(1).value()?)
    }

    /// The time in a part as FHIR `dateTime`.
    pub fn date_time(&self, part: Part<'_>) -> Option<Value> {
        self.moment(part).map(|moment| json!(moment.date_time()))
    }

    fn period(&self, start: Part<'_>, end: Part<'_>) -> Option<Value> {
        let at = |part: Part<'_>| {
            self.zone.read(&part.subcomponent(1).value()?).map(|moment| json!(moment.date_time()))
        };
        self.period_of(at(start), at(end))
    }

    /// A FHIR Period, if either end is known. An end before the start is left
    /// out (R4 per-1), and counted.
    pub fn period_of(&self, start: Option<Value>, end: Option<Value>) -> Option<Value> {
        let text = |value: &Option<Value>| value.as_ref()?.as_str().map(str::to_owned);
        let reversed = match (text(&start), text(&end)) {
            (Some(start), Some(end)) => is_before(&end, &start),
            _ => false,
        };
        let mut period = Object::new();
        period.put("start", start);
        if reversed {
            self.reversed_count.set(self.reversed_count.get() + 1);
        } else {
            period.put("end", end);
        }
        some(period)
    }

    /// XPN, and the shape that XCN shares from its second component on.
    /// Components: family, given, further given, suffix, prefix, degree.
    pub fn name_parts(&self, part: Part<'_>, first: usize) -> Object {
        let mut name = Object::new();
        name.put_text("family", part.at(first));
        name.push("given", part.at(first + 1).map(Value::String));
        let further = part.component(first + 2).value().unwrap_or_default();
        for given in further.split_whitespace() {
            // Not `push`: a second given name may well be the same as the first.
            match name.get_mut("given").and_then(Value::as_array_mut) {
                Some(names) => names.push(json!(given)),
                None => name.put("given", json!([given])),
            }
        }
        name.push("prefix", part.at(first + 4).map(Value::String));
        name.push("suffix", part.at(first + 3).map(Value::String));
        name.push("suffix", part.at(first + 5).map(Value::String));
        name
    }

    /// XPN to HumanName.
    pub fn human_name(&self, part: Part<'_>) -> Option<Value> {
        let mut name = self.name_parts(part, 1);
        name.push("suffix", part.at(14).map(Value::String));
        if name.is_empty() {
            return None;
        }
        let kind = part.at(7);
        let name_use = kind.and_then(|kind| mapped("name-use", &kind)).map(|found| found.code);
        name.put("use", name_use.map(|code| json!(code)));
        name.put("period", self.period(part.component(12), part.component(13)));
        some(name)
    }

    /// XAD to Address.
    pub fn address(&self, part: Part<'_>) -> Option<Value> {
        let mut address = Object::new();
        let street = part.component(1);
        let line = street.subcomponent(1).value().or_else(|| {
            let parts = [street.subcomponent(3).value(), street.subcomponent(2).value()];
            let line = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
            (!line.is_empty()).then_some(line)
        });
        for line in [line, part.at(2), part.at(19)].into_iter().flatten() {
            address.push("line", json!(line));
        }
        address.put_text("city", part.at(3));
        address.put_text("district", part.at(9));
        address.put_text("state", part.at(4));
        address.put_text("postalCode", part.at(5));
        address.put_text("country", part.at(6));
        if address.is_empty() {
            return None;
        }
        if let Some(kind) = part.at(7) {
            let find = |map: &str| mapped(map, &kind).map(|found| json!(found.code));
            address.put("use", find("address-use"));
            address.put("type", find("address-type"));
        }
        address.put("period", self.period(part.component(13), part.component(14)));
        some(address)
    }

    /// XTN to ContactPoint; `otherwise` is the use of the field, when the value
    /// names none.
    pub fn contact_point(&self, part: Part<'_>, otherwise: Option<&str>) -> Option<Value> {
        let equipment = part.at(3).unwrap_or_default();
        let electronic = matches!(equipment.to_ascii_uppercase().as_str(), "INTERNET" | "X.400");
        let local = part.at(7).map(|local| {
            let area = part.at(6);
            let country = part.at(5).map(|code| format!("+{}", code.trim_start_matches('+')));
            let extension = part.at(8).map(|extension| format!("x{extension}"));
            let parts = [country, area, Some(local), extension];
            parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
        });
        let address = part.at(4);
        let number = part.at(12).or(local).or_else(|| part.at(1));
        let value = if electronic { address.or(number) } else { number.or(address) }?;
        let is_email = value.contains('@');
        let mut point = Object::new();
        let system = match mapped("telecom-system", &equipment) {
            _ if is_email => "email",
            Some(found) if found.code != "email" => found.code,
            Some(_) if electronic => "url",
            _ => "phone",
        };
        point.put("system", json!(system));
        point.put("value", json!(value));
        let purpose = part.at(2).unwrap_or_default();
        let mobile = equipment.eq_ignore_ascii_case("CP") || equipment.eq_ignore_ascii_case("CELL");
        let point_use = if mobile { mapped("telecom-use", "CP") } else { None }
            .or_else(|| mapped("telecom-use", &purpose).filter(|_| !(is_email && purpose == "NET")))
            .map(|found| found.code)
            .or(otherwise.filter(|_| purpose.is_empty()));
        point.put("use", point_use.map(|code| json!(code)));
        let rank = part.at(18).and_then(|rank| rank.parse::<u32>().ok()).filter(|rank| *rank > 0);
        point.put("rank", rank.map(|rank| json!(rank)));
        point.put("period", self.period(part.component(13), part.component(14)));
        some(point)
    }

    /// HD (components or subcomponents given one by one) to an identifier
    /// system: a mapped authority, an OID or UUID, or one of the organization's.
    pub fn system(&self, namespace: Option<&str>, id: Option<&str>, kind: Option<&str>) -> String {
        let authorities = &self.settings.authorities;
        let known = |name: &str| authorities.keys().any(|key| key.eq_ignore_ascii_case(name));
        for name in [namespace, id].into_iter().flatten() {
            if known(name) {
                return self.settings.system_of(name);
            }
        }
        let id = id.map(str::trim).unwrap_or_default();
        let is_oid = !id.is_empty()
            && id.contains('.')
            && id.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        match kind.map(str::to_ascii_uppercase).as_deref() {
            Some("UUID" | "GUID") if !id.is_empty() && !id.contains(' ') => {
                format!("urn:uuid:{}", id.to_ascii_lowercase())
            }
            Some("URI") if id.contains(':') && !id.contains(' ') => id.to_owned(),
            _ if is_oid => format!("urn:oid:{id}"),
            _ => {
                let default = self.settings.default_authority.as_deref();
                let name = namespace.or((!id.is_empty()).then_some(id)).or(default);
                self.settings.system_of(name.unwrap_or("unassigned"))
            }
        }
    }

    /// The system of an HD that is a component (its parts are subcomponents).
    fn authority(&self, part: Part<'_>) -> Option<(String, Option<String>)> {
        let [namespace, id, kind] = [1, 2, 3].map(|number| part.subcomponent(number).value());
        if namespace.is_none() && id.is_none() {
            return None;
        }
        let system = self.system(namespace.as_deref(), id.as_deref(), kind.as_deref());
        Some((system, namespace))
    }

    /// CX to Identifier. Social security numbers get their own system.
    pub fn identifier(&self, part: Part<'_>) -> Option<Value> {
        let value = part.at(1)?;
        let kind = part.at(5);
        self.identifier_of(value, kind, part.component(4), part.at(6), part)
    }

    fn identifier_of(
        &self,
        value: String,
        kind: Option<String>,
        authority: Part<'_>,
        facility: Option<String>,
        whole: Part<'_>,
    ) -> Option<Value> {
        let found = self.authority(authority);
        let kind_upper = kind.as_deref().map(str::to_ascii_uppercase).unwrap_or_default();
        let (namespace, oid) =
            (authority.subcomponent(1).value(), authority.subcomponent(2).value());
        let named = namespace.as_deref().map(str::to_ascii_uppercase).unwrap_or_default();
        let is_ssn = kind_upper == "SS"
            || matches!(named.as_str(), "SSA" | "USSSA" | "SSN")
            || oid.as_deref() == Some("2.16.840.1.113883.4.1");
        if is_ssn {
            return social_security_number(&value);
        }
        let is_npi = kind_upper == "NPI"
            || matches!(named.as_str(), "NPI" | "NPPES")
            || oid.as_deref() == Some("2.16.840.1.113883.4.6");
        let mut identifier = Object::new();
        if let Some(kind) = kind.as_deref().filter(|_| !is_npi) {
            identifier.put("type", Some(identifier_type(kind)));
        } else if is_npi {
            identifier.put("type", Some(identifier_type("NPI")));
        }
        let assigner = namespace.or(facility);
        let system = if is_npi {
            NPI_SYSTEM.to_owned()
        } else {
            match found {
                Some((system, _)) => system,
                None => {
                    let default = self.settings.default_authority.as_deref();
                    let name = default.or(assigner.as_deref()).or(kind.as_deref());
                    self.settings.system_of(name.unwrap_or("unassigned"))
                }
            }
        };
        identifier.put("system", json!(system));
        identifier.put("value", json!(value));
        if whole.components_count() >= 7 && !is_npi {
            identifier.put("period", self.period(whole.component(7), whole.component(8)));
        }
        identifier
            .put("assigner", assigner.filter(|_| !is_npi).map(|name| json!({"display": name})));
        some(identifier)
    }

    /// The identifier of an XCN or CNN-like person: components 1, 9 and 13.
    pub fn person_identifier(&self, part: Part<'_>) -> Option<Value> {
        let value = part.at(1)?;
        let empty = part.component(usize::MAX);
        self.identifier_of(value, part.at(13), part.component(9), None, empty)
    }

    /// EI to Identifier: entity identifier, namespace, universal id and type.
    /// `kind` is `PLAC` or `FILL`, if that is what it is.
    pub fn entity(&self, part: Part<'_>, kind: Option<&str>) -> Option<Value> {
        let value = part.at(1)?;
        let mut identifier = Object::new();
        identifier.put("type", kind.map(identifier_type));
        let [namespace, id, type_] = [2, 3, 4].map(|number| part.at(number));
        let named = namespace.is_some() || id.is_some();
        let system = named
            .then(|| self.system(namespace.as_deref(), id.as_deref(), type_.as_deref()))
            .or_else(|| kind.map(|kind| self.settings.system_of(kind)));
        identifier.put_text("system", system);
        identifier.put("value", json!(value));
        some(identifier)
    }

    /// The system of a coding: HL7's and the public ones by their names, all
    /// others one of the organization's.
    fn coding_system(&self, name: &str) -> String {
        code_system(name).unwrap_or_else(|| {
            let oid = name.trim();
            if oid.len() > 5 && oid.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
                format!("urn:oid:{oid}")
            } else {
                self.settings.system_of(&format!("codes-{name}"))
            }
        })
    }

    /// One coding of a CWE, from its code, text, system and version components.
    fn one_coding(&self, part: Part<'_>, numbers: [usize; 4]) -> Option<Object> {
        let [code, text, system, version] = numbers;
        let code = part.at(code)?;
        let mut coding = Object::new();
        coding.put_text("system", part.at(system).map(|name| self.coding_system(&name)));
        coding.put_text("version", part.at(version));
        coding.put_text("code", Some(code_text(&code)));
        coding.put_text("display", part.at(text));
        Some(coding)
    }

    /// CWE (CE, CNE, CF, IS, ID) to CodeableConcept.
    pub fn concept(&self, part: Part<'_>) -> Option<Value> {
        let mut concept = Object::new();
        for numbers in [[1, 2, 3, 7], [4, 5, 6, 8], [10, 11, 12, 13]] {
            concept.push("coding", self.one_coding(part, numbers).map(Value::Object));
        }
        let text = [9, 2, 5].into_iter().find_map(|number| part.at(number));
        // A code that names no system is what people would read.
        let bare = || part.at(1).filter(|_| part.at(3).is_none());
        concept.put_text("text", text.or_else(bare));
        some(concept)
    }

    /// A CWE of a field with a table of its own: mapped by `map` where HL7 maps
    /// the code, and otherwise a code of `v2-<table>`.
    pub fn table_concept(&self, part: Part<'_>, map: &str, table: &str) -> Option<Value> {
        let Some(code) = part.at(1) else { return self.concept(part) };
        let mut concept = Object::new();
        let local = part.at(3).filter(|name| !name.eq_ignore_ascii_case(&format!("HL7{table}")));
        let found = mapped(map, &code).filter(|found| !found.system.is_empty());
        if let Some(found) = found {
            concept.push("coding", coding(found.system, found.code, found.display));
        }
        let mut sent = Object::new();
        let own = format!("http://terminology.hl7.org/CodeSystem/v2-{table}");
        sent.put_text("system", Some(local.map_or(own, |name| self.coding_system(&name))));
        sent.put_text("code", Some(code_text(&code)));
        sent.put_text("display", part.at(2));
        let same = found.is_some_and(|found| {
            sent.get("system") == Some(&json!(found.system))
                && sent.get("code") == Some(&json!(found.code))
        });
        if !same {
            concept.push("coding", Some(Value::Object(sent)));
        }
        let display = found.map(|found| found.display.to_owned()).filter(|text| !text.is_empty());
        concept.put_text("text", part.at(9).or_else(|| part.at(2)).or(display));
        some(concept)
    }

    /// A unit (CWE) and a value to Quantity.
    pub fn quantity(&self, value: Value, unit: Part<'_>) -> Value {
        let mut quantity = Object::new();
        quantity.put("value", value);
        self.put_unit(&mut quantity, unit);
        Value::Object(quantity)
    }

    /// The unit of a quantity: UCUM where it is or can be known.
    pub fn put_unit(&self, quantity: &mut Object, unit: Part<'_>) {
        // `10^3/uL` with a caret that was not escaped.
        let whole = unit.value().unwrap_or_default();
        if let Some(code) = ucum(&whole) {
            put_ucum(quantity, &whole, code);
            return;
        }
        let Some(code) = unit.at(1).or_else(|| unit.at(2)) else { return };
        let display = unit.at(2).filter(|text| !text.is_empty()).unwrap_or_else(|| code.clone());
        let system = unit.at(3).unwrap_or_default();
        let known = ucum(&code);
        match system.to_ascii_uppercase().as_str() {
            "UCUM" => put_ucum(quantity, &display, known.unwrap_or(&code)),
            _ if known.is_some() => put_ucum(quantity, &display, known.unwrap_or_default()),
            _ => quantity.put("unit", json!(display)),
        }
    }

    /// XON to an organization reference with identifier and name.
    pub fn organization(&self, part: Part<'_>) -> Option<Value> {
        let mut reference = Object::new();
        let value = part.at(10).or_else(|| part.at(3));
        let identifier = value.and_then(|value| {
            let empty = part.component(usize::MAX);
            self.identifier_of(value, part.at(7), part.component(6), None, empty)
        });
        reference.put("identifier", identifier);
        reference.put_text("display", part.at(1));
        if reference.is_empty() {
            return None;
        }
        reference.put("type", json!("Organization"));
        some(reference)
    }
}
