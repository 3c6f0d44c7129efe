//! CDA data types to FHIR data types, as HL7's C-CDA-on-FHIR guide maps them.

use std::cell::Cell;

use serde_json::{Value, json};

use super::narrative::Narrative;
use super::xml::{Lookup, Node};
use crate::converted::Settings;
use crate::fhir_type::{
    NPI_SYSTEM, code_text, decimal, identifier_type, is_before, put_ucum, social_security_number,
};
use crate::json::{Object, Put, coding, extension, some};
use crate::time::{Moment, Zone};
use crate::vocabulary::{code_system, mapped};

/// Root of US social security numbers.
pub(super) const SSN_OID: &str = "2.16.840.1.113883.4.1";
const NPI_OID: &str = "2.16.840.1.113883.4.6";
const SSN_DIGITS_COUNT: usize = 9;
/// Roots under which the extension is a URI.
const URI_OID: &str = "2.16.840.1.113883.4.873";
const URI_SYSTEM: &str = "urn:ietf:rfc:3986";
const DATA_ABSENT: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";
const NULL_FLAVOR: &str = "http://terminology.hl7.org/CodeSystem/v3-NullFlavor";
const DRIVER_LICENCE_ARC: &str = "2.16.840.1.113883.4.3.";

/// Reads data types of one document.
pub(super) struct Reader<'d> {
    pub settings: &'d Settings,
    pub zone: Zone,
    pub narrative: Narrative<'d>,
    /// Periods that ended before they began.
    pub reversed_count: Cell<usize>,
}

/// The ends of an effectiveTime.
#[derive(Default)]
pub(super) struct Interval {
    /// `@value`, `center`, or `low`.
    pub start: Option<Moment>,
    /// `high`, or `@value`.
    pub end: Option<Moment>,
    /// One point in time, not a range.
    pub is_point: bool,
    /// `high` is there and has no value: it has ended, nobody knows when.
    pub ended: bool,
}

impl Interval {
    pub fn start(&self) -> Option<Value> {
        self.start.as_ref().map(|at| json!(at.date_time()))
    }

    pub fn end(&self) -> Option<Value> {
        self.end.as_ref().filter(|_| !self.is_point).map(|at| json!(at.date_time()))
    }
}

impl<'d> Reader<'d> {
    pub fn moment(&self, node: Node<'d>) -> Option<Moment> {
        self.zone.read(node.attr("value")?)
    }

    pub fn date_time(&self, node: Node<'d>) -> Option<Value> {
        self.moment(node).map(|moment| json!(moment.date_time()))
    }

    /// TS, IVL_TS, or what senders write under that name.
    pub fn interval(&self, node: Node<'d>) -> Interval {
        let at = |name: &str| node.child(name).and_then(|end| self.moment(end));
        if let Some(point) = self.moment(node).or_else(|| at("center")) {
            return Interval {
                start: Some(point.clone()),
                end: Some(point),
                is_point: true,
                ended: true,
            };
        }
        let (start, end) = (at("low"), at("high"));
        let is_point = start.is_some() && start == end;
        // `high nullFlavor="UNK"`: ended at an unknown time; other flavours say
        // nothing.
        let ended = end.is_some()
            || node.child("high").is_some_and(|high| high.null_flavor() == Some("UNK"));
        Interval { start, end, is_point, ended }
    }

    /// The first effectiveTime of a statement.
    pub fn effective(&self, statement: Node<'d>) -> Interval {
        statement.child("effectiveTime").map(|time| self.interval(time)).unwrap_or_default()
    }

    /// `<name>DateTime` for a point, `<name>Period` for a range.
    pub fn put_time(&self, object: &mut Object, name: &str, interval: &Interval) {
        if interval.is_point {
            object.put(&format!("{name}DateTime"), interval.start());
        } else {
            object.put(&format!("{name}Period"), self.period(interval));
        }
    }

    pub fn period(&self, interval: &Interval) -> Option<Value> {
        self.period_of(interval.start(), interval.end())
    }

    /// A FHIR Period, if either end is known. An end before the start is left
    /// out (R4 per-1), and counted.
    pub fn period_of(&self, start: Option<Value>, end: Option<Value>) -> Option<Value> {
        let reversed =
            match (start.as_ref().and_then(Value::as_str), end.as_ref().and_then(Value::as_str)) {
                (Some(start), Some(end)) => is_before(end, start),
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

    /// The identifier system of a root: a mapped authority, an OID or a UUID.
    fn system(&self, root: &str) -> String {
        let mut known = self.settings.authorities.keys();
        if known.any(|name| name.eq_ignore_ascii_case(root)) {
            return self.settings.system_of(root);
        }
        urn(root).unwrap_or_else(|| self.settings.system_of(root))
    }

    /// II to Identifier.
    pub fn identifier(&self, id: Node<'d>) -> Option<Value> {
        let (root, value) = (id.attr("root"), id.attr("extension"));
        if value.map_or(id.null_flavor().is_some(), is_filler) {
            return None;
        }
        let assigner = id.attr("assigningAuthorityName");
        let mut identifier = Object::new();
        match (root, value) {
            (Some(SSN_OID), Some(value)) => {
                let digits = value.bytes().filter(u8::is_ascii_digit).count();
                if digits == SSN_DIGITS_COUNT || digits == 0 {
                    return social_security_number(value);
                }
                // Some systems write their record number under this root.
                let default = self.settings.default_authority.as_deref();
                let system = self.settings.system_of(default.unwrap_or("unassigned"));
                identifier.put("system", json!(system));
                identifier.put("value", json!(value));
            }
            (Some(NPI_OID), Some(value)) => {
                let kind = identifier_type("NPI");
                return Some(json!({"type": kind, "system": NPI_SYSTEM, "value": value}));
            }
            // Names of identifier systems name nobody.
            (Some(SSN_OID | NPI_OID), None) | (None, None) => return None,
            (Some(URI_OID), Some(value)) => {
                let cut =
                    if value.starts_with("urn:") { value.rfind(':') } else { value.rfind('/') };
                match cut.and_then(|cut| Some((value.get(..cut)?, value.get(cut + 1..)?))) {
                    Some((system, value))
                        if !value.is_empty()
                            && system.contains(':')
                            && !system.contains(char::is_whitespace) =>
                    {
                        identifier.put("system", json!(system));
                        identifier.put("value", json!(value));
                    }
                    _ => {
                        identifier.put("system", json!(URI_SYSTEM));
                        identifier.put("value", json!(value));
                    }
                }
            }
            (Some(root), Some(value)) => {
                if root.starts_with(DRIVER_LICENCE_ARC) {
                    identifier.put("type", identifier_type("DL"));
                }
                identifier.put("system", json!(self.system(root)));
                identifier.put("value", json!(value));
            }
            (Some(root), None) => match urn(root) {
                Some(urn) => {
                    identifier.put("system", json!(URI_SYSTEM));
                    identifier.put("value", json!(urn));
                }
                None => {
                    identifier.put("system", json!(self.settings.system_of("unassigned")));
                    identifier.put("value", json!(root));
                }
            },
            (None, Some(value)) => {
                let default = self.settings.default_authority.as_deref();
                let name = assigner.or(default).unwrap_or("unassigned");
                identifier.put("system", json!(self.settings.system_of(name)));
                identifier.put("value", json!(value));
            }
        }
        identifier.put("assigner", assigner.map(|name| json!({"display": name})));
        some(identifier)
    }

    /// The identifiers of a statement or role.
    pub fn identifiers(&self, node: Node<'d>) -> Vec<Value> {
        let mut found = Object::new();
        for id in node.all("id") {
            found.push("identifier", self.identifier(id));
        }
        match found.remove("identifier") {
            Some(Value::Array(identifiers)) => identifiers,
            _ => Vec::new(),
        }
    }

    /// One coding of a CD or of its translation.
    pub fn coding(&self, node: Node<'d>) -> Option<Value> {
        let code = code_text(node.attr("code")?);
        let oid = node.attr("codeSystem");
        let name = node.attr("codeSystemName");
        let system = match oid {
            Some(oid) => code_system(oid)
                .or_else(|| hl7_table(oid))
                .or_else(|| urn(oid))
                .or_else(|| name.and_then(code_system)),
            None => name.and_then(code_system),
        };
        let mut coding = Object::new();
        coding.put_text("system", system);
        coding.put_text("version", node.attr("codeSystemVersion").map(str::to_owned));
        coding.put("code", json!(code));
        coding.put_text("display", node.attr("displayName").map(str::to_owned));
        some(coding)
    }

    /// CD (CE, CV, CO, CS, BL aside) to CodeableConcept.
    pub fn concept(&self, node: Node<'d>) -> Option<Value> {
        let mut concept = Object::new();
        concept.push("coding", self.coding(node));
        for translation in node.all("translation") {
            concept.push("coding", self.coding(translation));
        }
        let original = node.child("originalText").and_then(|text| self.narrative.text(text));
        let display = || {
            let nodes = std::iter::once(node).chain(node.all("translation"));
            nodes.filter_map(|node| node.attr("displayName")).next().map(str::to_owned)
        };
        let bare = || {
            let code = node.attr("code").filter(|_| node.attr("codeSystem").is_none());
            code.map(str::to_owned)
        };
        concept.put_text("text", original.or_else(display).or_else(bare));
        some(concept)
    }

    pub fn child_concept(&self, node: Node<'d>, name: &str) -> Option<Value> {
        node.child(name).and_then(|child| self.concept(child))
    }

    /// What an element whose code is a null flavour says instead.
    pub fn null_concept(&self, node: Option<Node<'d>>) -> Value {
        let flavor = node.and_then(|node| node.null_flavor()).unwrap_or("UNK");
        json!({"coding": [coding(NULL_FLAVOR, flavor, "")], "text": "unknown"})
    }

    /// `dataAbsentReason` of a null flavour.
    pub fn absent_reason(&self, flavor: &str) -> Option<Value> {
        let found = mapped("ccda-absent", flavor)?;
        Some(json!({"coding": [coding(found.system, found.code, found.display)]}))
    }

    /// PQ (and the parts of IVL_PQ) to Quantity.
    pub fn quantity(&self, node: Node<'d>) -> Option<Value> {
        let value = decimal(node.attr("value")?)?;
        let mut quantity = Object::new();
        quantity.put("value", value);
        match node.attr("unit") {
            // The unity of UCUM: a plain number.
            None | Some("1") => {
                let said = node.child("translation").and_then(|other| other.child("originalText"));
                quantity.put_text("unit", said.and_then(|text| self.narrative.text(text)));
            }
            Some(unit) => {
                put_ucum(&mut quantity, unit, crate::vocabulary::ucum(unit).unwrap_or(unit))
            }
        }
        some(quantity)
    }

    /// PQ or IVL_PQ of a dose or rate: a quantity, or a range.
    pub fn quantity_or_range(&self, node: Node<'d>) -> Option<(&'static str, Value)> {
        if let Some(quantity) = self.quantity(node) {
            return Some(("Quantity", quantity));
        }
        let [low, high] =
            ["low", "high"].map(|name| node.child(name).and_then(|end| self.quantity(end)));
        let mut range = Object::new();
        range.put("low", low);
        range.put("high", high);
        some(range).map(|range| ("Range", range))
    }

    /// PN, EN, ON, TN to HumanName.
    pub fn human_name(&self, node: Node<'d>) -> Option<Value> {
        if node.null_flavor().is_some() {
            return None;
        }
        let mut name = Object::new();
        let said = |part: &Node<'d>| self.narrative.plain(*part);
        for part in node.all("family") {
            match (said(&part), name.contains_key("family")) {
                (Some(text), false) => name.put("family", json!(text)),
                (Some(text), true) => {
                    let first = name.get("family").and_then(Value::as_str).unwrap_or_default();
                    let both = format!("{first} {text}");
                    name.put("family", json!(both));
                }
                _ => {}
            }
        }
        let given: Vec<String> = node.all("given").filter_map(|part| said(&part)).collect();
        name.put("given", json!(given));
        for member in ["prefix", "suffix"] {
            for part in node.all(member) {
                name.push(member, said(&part).map(Value::String));
            }
        }
        if name.is_empty() {
            name.put_text("text", self.narrative.plain(node));
        }
        if name.is_empty() {
            return None;
        }
        let uses = node.attr("use").unwrap_or_default().split_whitespace();
        let found = uses.filter_map(|code| mapped("ccda-name-use", code)).next();
        let maiden = node.all("family").any(|part| matches!(part.attr("qualifier"), Some("BR")));
        let former = self.child_interval(node).is_some_and(|interval| interval.end.is_some());
        let name_use = match found {
            _ if maiden => Some("maiden"),
            _ if former => Some("old"),
            Some(found) => Some(found.code),
            None => None,
        };
        name.put("use", name_use.map(|code| json!(code)));
        let period = self.child_interval(node).and_then(|interval| self.period(&interval));
        name.put("period", period);
        some(name)
    }

    /// `validTime`, or `useablePeriod` of an address or number.
    fn child_interval(&self, node: Node<'d>) -> Option<Interval> {
        let time = node.child("validTime").or_else(|| node.child("useablePeriod"))?;
        Some(self.interval(time))
    }

    /// AD to Address.
    pub fn address(&self, node: Node<'d>) -> Option<Value> {
        if node.null_flavor().is_some() {
            return None;
        }
        let mut address = Object::new();
        for part in
            ["streetAddressLine", "streetName", "houseNumber", "additionalLocator", "unitID"]
        {
            for line in node.all(part) {
                address.push("line", self.narrative.plain(line).map(Value::String));
            }
        }
        for (part, member) in [
            ("city", "city"),
            ("county", "district"),
            ("state", "state"),
            ("postalCode", "postalCode"),
            ("country", "country"),
        ] {
            let text = node.child(part).and_then(|part| self.narrative.plain(part));
            address.put_text(member, text);
        }
        if address.is_empty() {
            address.put_text("text", self.narrative.plain(node));
        }
        if address.is_empty() {
            return None;
        }
        let uses = node.attr("use").unwrap_or_default().split_whitespace();
        let found = uses.filter_map(|code| mapped("ccda-address-use", code)).next();
        address.put("use", found.map(|found| json!(found.code)));
        let period = self.child_interval(node).and_then(|interval| self.period(&interval));
        address.put("period", period);
        some(address)
    }

    /// TEL to ContactPoint.
    pub fn contact_point(&self, node: Node<'d>) -> Option<Value> {
        let value = node.attr("value")?;
        let (scheme, rest) = match value.split_once(':') {
            Some((scheme, rest))
                if scheme.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-') =>
            {
                (scheme.to_ascii_lowercase(), rest)
            }
            _ => (String::new(), value),
        };
        let uses: Vec<&str> = node.attr("use").unwrap_or_default().split_whitespace().collect();
        let (system, value) = match scheme.as_str() {
            "mailto" => ("email", rest),
            "tel" if uses.contains(&"PG") => ("pager", rest),
            "tel" => ("phone", rest),
            "fax" | "x-text-fax" => ("fax", rest),
            "http" | "https" | "ftp" => ("url", value),
            "sms" => ("sms", rest),
            "" if value.contains('@') => ("email", value),
            "" if value.bytes().any(|byte| byte.is_ascii_digit()) => ("phone", value),
            _ => ("other", value),
        };
        let value = value.trim();
        if value.is_empty() {
            return None;
        }
        let mut point = Object::new();
        point.put("system", json!(system));
        point.put("value", json!(value));
        let found = uses.iter().filter_map(|code| mapped("ccda-telecom-use", code)).next();
        point.put("use", found.map(|found| json!(found.code)));
        let period = self.child_interval(node).and_then(|interval| self.period(&interval));
        point.put("period", period);
        some(point)
    }

    /// Name and first identifier of an organization, as a logical reference.
    pub fn organization(&self, node: Node<'d>) -> Option<Value> {
        let mut reference = Object::new();
        reference.put("identifier", self.identifiers(node).into_iter().next());
        let name = node.child("name").and_then(|name| self.narrative.plain(name));
        reference.put_text("display", name);
        if reference.is_empty() {
            return None;
        }
        reference.put("type", json!("Organization"));
        some(reference)
    }
}

/// `{"extension": [data-absent-reason]}`, beside a primitive that is missing.
pub(super) fn data_absent(code: &str) -> Value {
    json!({"extension": [extension(DATA_ABSENT, "valueCode", json!(code))]})
}

/// Whether an extension says only that there is none.
fn is_filler(value: &str) -> bool {
    let fillers = ["unk", "unknown", "none", "null", "n/a", "na", "ni", "nullflavor"];
    fillers.iter().any(|filler| value.eq_ignore_ascii_case(filler))
}

/// `urn:oid:` or `urn:uuid:` of a root.
fn urn(root: &str) -> Option<String> {
    let is_oid = root.contains('.')
        && root.split('.').all(|arc| !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit()))
        && root.starts_with(['0', '1', '2']);
    if is_oid {
        return Some(format!("urn:oid:{root}"));
    }
    let is_uuid = root.len() == 36
        && root.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    is_uuid.then(|| format!("urn:uuid:{}", root.to_ascii_lowercase()))
}

/// HL7's v2 tables under their OIDs: `2.16.840.1.113883.12.<table>`.
fn hl7_table(oid: &str) -> Option<String> {
    let table = oid.strip_prefix("2.16.840.1.113883.12.")?;
    let number: u16 = table.parse().ok()?;
    code_system(&format!("HL7{number:04}"))
}
