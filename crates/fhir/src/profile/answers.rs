//! A QuestionnaireResponse against its Questionnaire (FHIR R4
//! questionnaireresponse.html#link): the items that it asks for, their types, how
//! many answers, the options and the limits that common extensions set.

use std::cmp::Ordering;

use regex::RegexBuilder;
use serde_json::Value;

use super::check::{Check, type_named};
use super::compare;
use super::terms::Membership;
use super::walk::Place;
use crate::definitions;
use crate::reference::is_id;

/// Groups in groups; the parser allows fewer levels.
const DEPTH_MAX: usize = 60;
/// Size of a compiled pattern of a questionnaire.
const PATTERN_BYTES_MAX: usize = 1 << 20;
const CORE: &str = "http://hl7.org/fhir/StructureDefinition/";
const SDC: &str = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-";

fn items<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    value[name].as_array().into_iter().flatten()
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

/// The value of an answer, option or extension, with the name of its type.
fn value_of(holder: &Value) -> Option<(&str, &Value)> {
    let mut fields = holder.as_object()?.iter();
    fields.find_map(|(name, value)| Some((name.strip_prefix("value")?, value)))
}

/// The value of the extension of `item` whose URL is `url`.
fn extension<'v>(item: &'v Value, url: &str) -> Option<&'v Value> {
    let found = items(item, "extension").find(|extension| extension["url"] == *url)?;
    value_of(found).map(|(_, value)| value)
}

impl<'a> Check<'a> {
    /// Checks a response whose questionnaire is contained or at hand.
    pub(super) fn answers(&mut self, place: &Place<'a>) {
        let response = place.value;
        let Some(url) = response["questionnaire"].as_str() else { return };
        let registry = self.registry;
        let questionnaire = match url.strip_prefix('#') {
            Some(id) => items(response, "contained").find(|inner| inner["id"] == *id),
            None => registry.questionnaire(url),
        };
        let Some(questionnaire) = questionnaire else { return };
        if questionnaire["resourceType"] != "Questionnaire" {
            return;
        }
        // An unfinished response may lack answers.
        let is_done = matches!(text(response, "status"), "completed" | "amended");
        self.level(questionnaire, response, &place.path, (response, is_done), 0);
    }

    /// The items of a group, question or the whole.
    fn level(
        &mut self,
        asked: &Value,
        given: &Value,
        at: &str,
        whole: (&Value, bool),
        depth: usize,
    ) {
        if depth > DEPTH_MAX {
            return;
        }
        let mut last = 0;
        for (number, item) in items(given, "item").enumerate() {
            let at = format!("{at}.item[{number}]");
            let place = items(asked, "item").position(|it| it["linkId"] == item["linkId"]);
            match place {
                Some(place) if place < last => {
                    self.fail("structure", &at, "the items are out of order");
                }
                Some(place) => last = place,
                None => self.fail("not-found", &at, "the questionnaire has no such item here"),
            }
        }
        for item in items(asked, "item") {
            let own: Vec<(String, &Value)> = items(given, "item")
                .enumerate()
                .filter(|(_, answered)| answered["linkId"] == item["linkId"])
                .map(|(number, answered)| (format!("{at}.item[{number}]"), answered))
                .collect();
            self.item(item, &own, at, whole, depth);
        }
    }

    fn item(
        &mut self,
        asked: &Value,
        own: &[(String, &Value)],
        at: &str,
        whole: (&Value, bool),
        depth: usize,
    ) {
        let kind = text(asked, "type");
        let is_enabled = is_enabled(asked, whole.0);
        if !is_enabled {
            for (at, item) in own.iter().filter(|(_, item)| has_answer(item)) {
                let _ = item;
                self.fail("invalid", at, "it has an answer and is not enabled");
            }
            return;
        }
        let repeats = asked["repeats"] == true;
        if kind == "group" {
            if own.len() > 1 && !repeats {
                self.fail("structure", &own[1].0, "this group does not repeat");
            }
        } else if own.len() > 1 {
            self.fail("structure", &own[1].0, "a question has one item with all its answers");
        }
        let answers = own.iter().map(|(_, item)| items(item, "answer").count()).sum::<usize>();
        let is_missing = if kind == "group" {
            own.iter().all(|(_, item)| items(item, "item").next().is_none())
        } else {
            answers == 0
        };
        if asked["required"] == true && is_missing && kind != "display" && whole.1 {
            let at = own.first().map_or(at, |(at, _)| at.as_str());
            self.fail("required", at, "a required item has no answer");
        }
        let most =
            extension(asked, &format!("{CORE}questionnaire-maxOccurs")).and_then(Value::as_u64);
        for (at, item) in own {
            let count = items(item, "answer").count();
            if kind == "group" || kind == "display" || kind == "question" {
                if count > 0 {
                    self.fail("structure", at, "this item takes no answers");
                }
                self.level(asked, item, at, whole, depth + 1);
                continue;
            }
            if items(item, "item").next().is_some() {
                self.fail("structure", at, "what belongs to a question stands in its answer");
            }
            if count > 1 && !repeats {
                self.fail("invalid", at, "only one answer is allowed");
            }
            if most.is_some_and(|most| count as u64 > most) {
                self.fail("invalid", at, "more answers than are allowed");
            }
            self.exclusive(asked, item, at);
            for (number, answer) in items(item, "answer").enumerate() {
                let at = format!("{at}.answer[{number}]");
                self.answer(asked, answer, &at);
                self.level(asked, answer, &at, whole, depth + 1);
            }
        }
    }

    /// An option that excludes others was chosen with others.
    fn exclusive(&mut self, asked: &Value, item: &Value, at: &str) {
        let url = format!("{CORE}questionnaire-optionExclusive");
        let alone: Vec<&Value> = items(asked, "answerOption")
            .filter(|option| extension(option, &url) == Some(&Value::Bool(true)))
            .filter_map(|option| value_of(option).map(|(_, value)| value))
            .collect();
        if items(item, "answer").count() < 2 {
            return;
        }
        for (number, answer) in items(item, "answer").enumerate() {
            let chosen = value_of(answer)
                .is_some_and(|(_, value)| alone.iter().any(|one| is_option(one, value)));
            if chosen {
                let at = format!("{at}.answer[{number}]");
                self.fail("invariant", &at, "this option excludes all others");
            }
        }
    }

    fn answer(&mut self, asked: &Value, answer: &Value, at: &str) {
        let Some((given, value)) = value_of(answer) else { return };
        let at_value = format!("{at}.value.ofType({})", lower(given));
        let allowed: &[&str] = match text(asked, "type") {
            "boolean" => &["Boolean"],
            "decimal" => &["Decimal"],
            "integer" => &["Integer"],
            "date" => &["Date"],
            "dateTime" => &["DateTime"],
            "time" => &["Time"],
            "string" | "text" => &["String"],
            "url" => &["Uri"],
            "choice" => &["Coding", "Date", "Time", "Integer", "String"],
            "open-choice" => &["Coding", "String", "Date", "Time", "Integer"],
            "attachment" => &["Attachment"],
            "reference" => &["Reference"],
            "quantity" => &["Quantity"],
            _ => return,
        };
        if !allowed.contains(&given) {
            return self.fail(
                "invariant",
                &at_value,
                "the question asks for another type of answer",
            );
        }
        self.option(asked, (given, value), at, &at_value);
        self.limits(asked, value, &at_value);
        match given {
            "Reference" => self.reference_answer(asked, value, &at_value),
            "Attachment" => self.attachment(asked, value, at),
            "Quantity" => self.quantity(asked, value, &at_value),
            "Uri" => {
                if let Some(uuid) = value.as_str().and_then(|uri| uri.strip_prefix("urn:uuid:"))
                    && !is_uuid(uuid)
                {
                    self.fail("invalid", &at_value, "no UUID follows urn:uuid:");
                }
            }
            _ => {}
        }
    }

    fn option(&mut self, asked: &Value, (given, value): (&str, &Value), at: &str, at_value: &str) {
        let is_open = text(asked, "type") == "open-choice" && given == "String";
        let options: Vec<&Value> =
            items(asked, "answerOption").filter_map(|option| Some(value_of(option)?.1)).collect();
        if !options.is_empty() && !is_open && !options.iter().any(|option| is_option(option, value))
        {
            let at = if given == "Coding" { at } else { at_value };
            return self.fail("invariant", at, "not among the options of the question");
        }
        let Some(set) = asked["answerValueSet"].as_str().filter(|_| !is_open) else { return };
        let (system, code) = match value {
            Value::String(code) => (None, code.as_str()),
            _ => (value["system"].as_str(), text(value, "code")),
        };
        let member = if set.starts_with('#') {
            Membership::Unknown
        } else {
            self.registry.with_terms(|terms| terms.member(set, system, code))
        };
        match member {
            Membership::In | Membership::Unknown => {}
            // Free text is allowed beside the codes of an open choice.
            Membership::Out => {
                let at = if given == "Coding" { at } else { at_value };
                self.fail("code-invalid", at, "not in the value set of the question");
            }
        }
    }

    fn limits(&mut self, asked: &Value, value: &Value, at: &str) {
        let order = |name: &str, base: &str| {
            extension(asked, &format!("{base}{name}"))
                .and_then(|limit| compare::order(value, limit))
        };
        let early = |limit: Option<Ordering>, wrong| limit == Some(wrong);
        if early(order("minValue", CORE), Ordering::Less) {
            self.fail("invariant", at, "below the least value that is allowed");
        }
        if early(order("maxValue", CORE), Ordering::Greater) {
            self.fail("invariant", at, "above the greatest value that is allowed");
        }
        if let Some(written) = value.as_str() {
            let length = written.chars().count() as u64;
            let least = extension(asked, &format!("{CORE}minLength")).and_then(Value::as_u64);
            if least.is_some_and(|least| length < least) {
                self.fail("invariant", at, "shorter than is allowed");
            }
            if asked["maxLength"].as_u64().is_some_and(|most| length > most) {
                self.fail("invariant", at, "longer than is allowed");
            }
            let pattern = extension(asked, &format!("{CORE}regex")).and_then(Value::as_str);
            let pattern = pattern.and_then(|it| {
                RegexBuilder::new(&format!("^(?:{it})$")).size_limit(PATTERN_BYTES_MAX).build().ok()
            });
            if pattern.is_some_and(|pattern| !pattern.is_match(written)) {
                self.fail("invariant", at, "not of the form that is asked for");
            }
        }
        let places = extension(asked, &format!("{CORE}maxDecimalPlaces")).and_then(Value::as_u64);
        if let (Some(places), Value::Number(number)) = (places, value) {
            let written = number.to_string();
            let given = written.split_once('.').map_or(0, |(_, part)| part.len() as u64);
            if given > places {
                self.fail("invariant", at, "too many decimal places");
            }
        }
    }

    fn quantity(&mut self, asked: &Value, value: &Value, at: &str) {
        for (name, wrong) in [("minQuantity", Ordering::Less), ("maxQuantity", Ordering::Greater)] {
            let Some(limit) = extension(asked, &format!("{SDC}{name}")) else { continue };
            match if value["code"].is_string() { compare::order(value, limit) } else { None } {
                None => self.fail("invariant", at, "cannot be compared with the limit"),
                Some(order) if order == wrong => {
                    self.fail("invariant", at, "outside of what is allowed");
                }
                Some(_) => {}
            }
        }
        let set =
            extension(asked, &format!("{CORE}questionnaire-unitValueSet")).and_then(Value::as_str);
        if let Some(set) = set {
            let (system, code) = (value["system"].as_str(), text(value, "code"));
            let member = self.registry.with_terms(|terms| terms.member(set, system, code));
            if member == Membership::Out {
                self.fail("invariant", at, "the unit is not in the value set of the question");
            }
        }
    }

    fn attachment(&mut self, asked: &Value, value: &Value, at: &str) {
        let most = extension(asked, &format!("{CORE}maxSize"));
        if let (Some(Value::Number(most)), Value::Number(size)) = (most, &value["size"])
            && size.as_f64() > most.as_f64()
        {
            self.fail("too-long", at, "the attachment is too large");
        }
        let allowed = format!("{CORE}mimeType");
        let mut types = items(asked, "extension").filter(|it| it["url"] == *allowed).peekable();
        if let (Some(_), Some(own)) = (types.peek(), value["contentType"].as_str())
            && !types.any(|kind| value_of(kind).is_some_and(|(_, kind)| *kind == *own))
        {
            self.fail("invariant", at, "the attachment is of another type than is asked for");
        }
    }

    fn reference_answer(&mut self, asked: &Value, value: &Value, at: &str) {
        let Some(reference) = value["reference"].as_str() else { return };
        let url = format!("{CORE}questionnaire-referenceResource");
        let allowed: Vec<&Value> = items(asked, "extension")
            .filter(|it| it["url"] == *url)
            .filter_map(|it| Some(value_of(it)?.1))
            .collect();
        match type_named(reference) {
            Some(name) if !allowed.is_empty() && !allowed.iter().any(|one| **one == *name) => {
                self.fail("invariant", at, "may not refer to this type of resource");
            }
            None if names_no_type(reference) => {
                self.fail("invariant", at, "refers to a type of resource that there is none of");
            }
            _ => {}
        }
    }
}

/// `…/Chicken/1`: of the form of a reference, to no type that there is.
fn names_no_type(reference: &str) -> bool {
    let mut parts = reference.rsplit('/');
    let (id, kind) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let looks = kind.starts_with(|c: char| c.is_ascii_uppercase())
        && kind.chars().all(|c| c.is_ascii_alphabetic());
    looks && is_id(id) && !definitions().is_resource_type(kind)
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f' | '-'))
}

fn lower(name: &str) -> String {
    let is_primitive = matches!(
        name,
        "Boolean" | "Decimal" | "Integer" | "Date" | "DateTime" | "Time" | "String" | "Uri"
    );
    if !is_primitive {
        return name.to_owned();
    }
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

/// Whether an answer is this option: codings by system and code.
fn is_option(option: &Value, answer: &Value) -> bool {
    match (option, answer) {
        (Value::Object(_), Value::Object(_)) if option["reference"].is_string() => {
            option["reference"] == answer["reference"]
        }
        (Value::Object(_), Value::Object(_)) => {
            option["code"] == answer["code"] && option["system"] == answer["system"]
        }
        _ => compare::is_equal(option, answer),
    }
}

fn has_answer(item: &Value) -> bool {
    items(item, "answer").next().is_some() || items(item, "item").any(has_answer)
}

/// Every answer to the question `link`, wherever it stands.
fn answers_to<'v>(holder: &'v Value, link: &Value, depth: usize, found: &mut Vec<&'v Value>) {
    for item in items(holder, "item").filter(|_| depth < DEPTH_MAX) {
        if item["linkId"] == *link {
            found.extend(items(item, "answer"));
        }
        answers_to(item, link, depth + 1, found);
        for answer in items(item, "answer") {
            answers_to(answer, link, depth + 1, found);
        }
    }
}

/// `enableWhen` (FHIR R4 questionnaire-definitions.html#Questionnaire.item.enableWhen).
fn is_enabled(asked: &Value, response: &Value) -> bool {
    let mut conditions = items(asked, "enableWhen").peekable();
    if conditions.peek().is_none() {
        return true;
    }
    let mut meets = |condition: &Value| {
        let mut answers = Vec::new();
        answers_to(response, &condition["question"], 0, &mut answers);
        let wanted = condition.as_object().into_iter().flatten();
        let mut wanted = wanted.filter(|(name, _)| name.starts_with("answer"));
        let Some((_, wanted)) = wanted.next() else { return true };
        let values = || answers.iter().filter_map(|answer| Some(value_of(answer)?.1));
        let orders = |fits: fn(Ordering) -> bool| {
            values().any(|value| compare::order(value, wanted).is_some_and(fits))
        };
        match text(condition, "operator") {
            "exists" => *wanted == Value::Bool(!answers.is_empty()),
            "=" => values().any(|value| is_option(wanted, value)),
            "!=" => values().any(|value| !is_option(wanted, value)),
            ">" => orders(Ordering::is_gt),
            "<" => orders(Ordering::is_lt),
            ">=" => orders(Ordering::is_ge),
            "<=" => orders(Ordering::is_le),
            _ => true,
        }
    };
    if asked["enableBehavior"] == "all" {
        conditions.all(meets)
    } else {
        conditions.any(&mut meets)
    }
}
