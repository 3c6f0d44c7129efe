//! Calls: which function, what arguments; the functions of the tree, of FHIR and
//! of tracing. Others are in `collections`, `strings`, `maths`, `convert` and
//! `boundary`.

use std::borrow::Cow;

use serde_json::Value;

use super::EvaluateError;
use super::evaluate::{Evaluator, Items, Outcome, Scope};
use super::expr::{Expr, Function};
use super::item::{Item, Node};
use super::temporal::{Temporal, TemporalKind};
use crate::definitions;
use crate::reference::reference_type;

const PROFILE: &str = "http://hl7.org/fhir/StructureDefinition/";

impl<'a> Evaluator<'a, '_> {
    /// Calls `function` on `input`.
    pub fn call(
        &self,
        function: Function,
        input: &[Item<'a>],
        arguments: &'a [Expr],
        scope: Scope<'a, '_>,
        out: &mut Items<'a>,
    ) -> Outcome {
        use Function::*;
        match function {
            Children => self.children(input, out),
            Descendants => self.descendants(input, out),
            Now | Today | TimeOfDay => {
                let kind = match function {
                    Now => TemporalKind::DateTime,
                    Today => TemporalKind::Date,
                    _ => TemporalKind::Time,
                };
                let now = self.env.now.ok_or(EvaluateError::NoClock)?;
                out.push(Item::Temporal(Temporal::of_instant(now, kind)));
                Ok(())
            }
            Trace => {
                if let (Some(hooks), Some(name)) =
                    (self.env.hooks, self.text_of(arguments, 0, scope)?)
                {
                    hooks.trace(&name, input);
                }
                out.extend_from_slice(input);
                Ok(())
            }
            Type => {
                out.extend(input.iter().map(|item| {
                    let (namespace, name) = item.type_of();
                    Item::Type { namespace, name }
                }));
                Ok(())
            }
            Extension | HasExtension => {
                let Some(url) = self.text_of(arguments, 0, scope)? else { return Ok(()) };
                let extensions = nodes(input)
                    .flat_map(|node| node.extensions())
                    .filter(|node| node.value.get("url").and_then(Value::as_str) == Some(&*url));
                if function == Extension {
                    out.extend(extensions.map(Item::Node));
                } else {
                    let found = extensions.count() > 0;
                    out.push(Item::Boolean(found));
                }
                Ok(())
            }
            HasValue => {
                let has = match input {
                    [Item::Node(node)] => node.is_primitive() && !node.value.is_null(),
                    [_] => true,
                    _ => false,
                };
                out.push(Item::Boolean(has));
                Ok(())
            }
            GetValue => {
                if let [item] = input {
                    let value = item.system();
                    let is_value = match &value {
                        Item::Node(_) | Item::Resolved(_) => false,
                        _ => !matches!(item, Item::Node(node) if !node.is_primitive()),
                    };
                    out.extend(Some(value).filter(|_| is_value));
                }
                Ok(())
            }
            Resolve => {
                for item in input {
                    match item {
                        Item::Node(node) => out.extend(self.resolve(*node)),
                        Item::Text(Cow::Borrowed(text)) => out.extend(self.resolve_text(text)),
                        _ => {}
                    }
                }
                Ok(())
            }
            MemberOf | Subsumes | SubsumedBy | ConformsTo | HtmlChecks | CheckModifiers => {
                self.ask(function, input, arguments, scope, out)
            }
            ToBoolean | ToInteger | ToDecimal | ToText | ToDate | ToDateTime | ToTime
            | ToQuantity | ConvertsToBoolean | ConvertsToInteger | ConvertsToDecimal
            | ConvertsToText | ConvertsToDate | ConvertsToDateTime | ConvertsToTime
            | ConvertsToQuantity => self.convert(function, input, arguments, scope, out),
            IndexOf | LastIndexOf | Substring | StartsWith | EndsWith | Contains | Upper
            | Lower | Replace | Matches | MatchesFull | ReplaceMatches | Length | ToChars
            | Encode | Decode | Escape | Unescape | Trim | Split | Join => {
                self.string_function(function, input, arguments, scope, out)
            }
            Abs | Ceiling | Exp | Floor | Ln | Log | Power | Round | Sqrt | Truncate => {
                self.maths(function, input, arguments, scope, out)
            }
            LowBoundary | HighBoundary | Precision | Comparable => {
                self.boundary(function, input, arguments, scope, out)
            }
            _ => self.collection_function(function, input, arguments, scope, out),
        }
    }

    /// The argument at `place` as a text; `None` when it is empty or absent.
    pub fn text_of(
        &self,
        arguments: &'a [Expr],
        place: usize,
        scope: Scope<'a, '_>,
    ) -> Outcome<Option<Cow<'a, str>>> {
        let argument = match arguments.get(place) {
            None => return Ok(None),
            Some(Expr::Text(text, _)) => return Ok(Some(Cow::Borrowed(text))),
            Some(argument) => self.collect(argument, scope)?,
        };
        let operation = "an argument that is a text";
        match self.single(&argument, operation)? {
            None => Ok(None),
            Some(item) => item.text().map(Some).ok_or(EvaluateError::WrongType { operation }),
        }
    }

    /// The argument at `place` as a whole number.
    pub fn integer_of(
        &self,
        arguments: &'a [Expr],
        place: usize,
        scope: Scope<'a, '_>,
    ) -> Outcome<Option<i64>> {
        match arguments.get(place) {
            None => Ok(None),
            Some(argument) => {
                self.integer(&self.collect(argument, scope)?, "an argument that is a number")
            }
        }
    }

    fn children(&self, input: &[Item<'a>], out: &mut Items<'a>) -> Outcome {
        let before = out.len();
        for item in input {
            match item {
                Item::Node(node) => node.each_of_all(&mut |child| out.push(Item::Node(child))),
                Item::Type { namespace, name } => {
                    out.extend([namespace, name].map(|text| Item::Text(Cow::Borrowed(*text))));
                }
                _ => {}
            }
        }
        self.charge(out.len() - before)
    }

    fn descendants(&self, input: &[Item<'a>], out: &mut Items<'a>) -> Outcome {
        let mut from = out.len();
        self.children(input, out)?;
        while from < out.len() {
            let to = out.len();
            let level: Items<'a> = out[from..to].to_vec();
            self.children(&level, out)?;
            from = to;
        }
        Ok(())
    }

    fn resolve(&self, node: Node<'a>) -> Option<Item<'a>> {
        let text = |name: &str| node.value.get(name).and_then(Value::as_str);
        let reference = node.value.as_str().or_else(|| text("reference"));
        if let Some(found) = reference.and_then(|reference| self.resolve_text(reference)) {
            return Some(found);
        }
        let named = text("type").filter(|name| definitions().is_resource_type(name));
        named.filter(|_| reference.is_none_or(|to| !to.starts_with('#'))).map(Item::Resolved)
    }

    fn resolve_text(&self, reference: &'a str) -> Option<Item<'a>> {
        let root = self.env.root_resource.unwrap_or(self.resource);
        if let Some(id) = reference.strip_prefix('#') {
            if id.is_empty() {
                return Node::resource(root).map(Item::Node);
            }
            let contained = |holder: &'a Value| {
                let list = holder.get("contained")?.as_array()?;
                list.iter().find(|inner| inner.get("id").and_then(Value::as_str) == Some(id))
            };
            let target = contained(self.resource).or_else(|| contained(root))?;
            return Node::resource(target).map(Item::Node);
        }
        let entries = root.get("entry").and_then(Value::as_array).filter(|_| !self.is_search());
        let entry = entries.into_iter().flatten().find(|entry| {
            let url = entry.get("fullUrl").and_then(Value::as_str).unwrap_or_default();
            url == reference || url.strip_suffix(reference).is_some_and(|base| base.ends_with('/'))
        });
        let known = entry
            .and_then(|entry| entry.get("resource"))
            .or_else(|| self.env.hooks.and_then(|hooks| hooks.resolve(reference)));
        match known.and_then(Node::resource) {
            Some(node) => Some(Item::Node(node)),
            None => reference_type(reference).map(Item::Resolved),
        }
    }

    /// What the caller's hooks and the definitions answer.
    fn ask(
        &self,
        function: Function,
        input: &[Item<'a>],
        arguments: &'a [Expr],
        scope: Scope<'a, '_>,
        out: &mut Items<'a>,
    ) -> Outcome {
        use Function::*;
        if function == CheckModifiers {
            let mut understood = Vec::new();
            for place in 0..arguments.len() {
                understood.extend(self.text_of(arguments, place, scope)?);
            }
            for node in nodes(input).flat_map(|node| node.children("modifierExtension")) {
                let url = node.value.get("url").and_then(Value::as_str);
                if !understood.iter().any(|known| url == Some(known)) {
                    return Err(EvaluateError::Modifier);
                }
            }
            out.extend_from_slice(input);
            return Ok(());
        }
        let Some(item) = self.single(input, function.name())? else { return Ok(()) };
        let answer = match function {
            HtmlChecks => {
                item.text().map(|text| crate::narrative::check(&text).is_ok()).or(Some(false))
            }
            MemberOf => match self.text_of(arguments, 0, scope)? {
                None => None,
                Some(set) => self
                    .env
                    .hooks
                    .and_then(|hooks| hooks.member_of(item, &set))
                    .or_else(|| is_member(item, &set)),
            },
            ConformsTo => match (self.text_of(arguments, 0, scope)?, item) {
                (None, _) => None,
                (Some(profile), Item::Node(node)) => {
                    let asked = self.env.hooks.and_then(|hooks| hooks.conforms_to(node, &profile));
                    let by_type = || {
                        let name = profile.strip_prefix(PROFILE)?;
                        definitions().type_definition(name)?;
                        Some(definitions().is_a(node.type_code, name))
                    };
                    match asked.or_else(by_type) {
                        Some(answer) => Some(answer),
                        None => {
                            let name = profile.into_owned();
                            return Err(EvaluateError::UnknownName {
                                operation: "conformsTo",
                                name,
                            });
                        }
                    }
                }
                _ => Some(false),
            },
            _ => {
                let other = match arguments.first() {
                    Some(argument) => self.collect(argument, scope)?,
                    None => Vec::new(),
                };
                let Some(other) = self.single(&other, function.name())? else { return Ok(()) };
                let (general, special) =
                    if function == Subsumes { (item, other) } else { (other, item) };
                let same =
                    || (super::operators::equal(general, special) == Some(true)).then_some(true);
                self.env.hooks.and_then(|hooks| hooks.subsumes(general, special)).or_else(same)
            }
        };
        out.extend(answer.map(Item::Boolean));
        Ok(())
    }
}

/// The parts of a document among the items.
pub(super) fn nodes<'i, 'a: 'i>(
    items: &'i [Item<'a>],
) -> impl Iterator<Item = Node<'a>> + use<'i, 'a> {
    items.iter().filter_map(|item| match item {
        Item::Node(node) => Some(*node),
        _ => None,
    })
}

/// Whether a coded item is in one of the sets that the definitions list; `None`
/// when the set is not among them.
fn is_member(item: &Item<'_>, url: &str) -> Option<bool> {
    let set = definitions().value_set(url.split('|').next().unwrap_or(url))?;
    let text =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let coding = |value: &Value| match (text(value, "system"), text(value, "code")) {
        (Some(system), Some(code)) => set.has(&system, &code),
        _ => false,
    };
    match item {
        Item::Node(node) if node.type_code == "Coding" => Some(coding(node.value)),
        Item::Node(node) if node.type_code == "CodeableConcept" => {
            let list = node.value.get("coding").and_then(Value::as_array);
            Some(list.into_iter().flatten().any(coding))
        }
        other => other.text().map(|code| set.has_code(&code)),
    }
}
