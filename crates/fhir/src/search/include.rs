//! `_include` and `_revinclude` (search.html#include): which references lead from a
//! match to what goes along with it.

use std::collections::BTreeSet;

use super::entry::{IndexEntry, IndexValue};
use crate::definitions;
use crate::definitions::ParameterKind;
use crate::type_code::{type_code, type_name};

/// One `_include` or `_revinclude`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Include {
    /// Whether what refers to a match goes along (`_revinclude`), instead of what a
    /// match refers to.
    pub is_reverse: bool,
    /// Whether it applies to what was included, too (`:iterate`).
    pub iterates: bool,
    /// Type of the resource that has the reference; `None` is any (`*`).
    pub source: Option<&'static str>,
    /// Its search parameter; `None` is any (`*`).
    pub parameter: Option<&'static str>,
    /// Type of what is referred to, if said.
    pub target: Option<&'static str>,
}

/// Why a value names no include.
pub(super) enum NoInclude {
    Form,
    Type,
    Parameter,
}

impl Include {
    /// Reads `*`, `Type:*`, `Type:parameter` or `Type:parameter:Target`.
    pub(super) fn parse(value: &str, is_reverse: bool, iterates: bool) -> Result<Self, NoInclude> {
        let any = Self { is_reverse, iterates, source: None, parameter: None, target: None };
        if value == "*" {
            return Ok(any);
        }
        let parts: Vec<&str> = value.split(':').collect();
        let (source, parameter, target) = match parts.as_slice() {
            [source, parameter] => (*source, *parameter, None),
            [source, parameter, target] => (*source, *parameter, Some(*target)),
            _ => return Err(NoInclude::Form),
        };
        let named = |name: &str| type_code(name).and_then(type_name).ok_or(NoInclude::Type);
        let source = named(source)?;
        let target = target.filter(|target| !target.is_empty()).map(named).transpose()?;
        if parameter == "*" {
            return Ok(Self { source: Some(source), target, ..any });
        }
        let known = definitions().search_parameter(source, parameter);
        let known = known.filter(|known| known.kind == ParameterKind::Reference);
        let known = known.ok_or(NoInclude::Parameter)?;
        Ok(Self { source: Some(source), parameter: Some(known.name), target, ..any })
    }

    fn applies(&self, source: &str, parameter: &str) -> bool {
        self.source.is_none_or(|wanted| wanted == source)
            && self.parameter.is_none_or(|wanted| wanted == parameter)
    }

    /// What a resource of type `source` with these entries refers to on this server,
    /// by type and id.
    pub fn targets<'a>(
        &self,
        source: &str,
        entries: &'a [IndexEntry],
    ) -> BTreeSet<(&'static str, &'a str)> {
        let mut found = BTreeSet::new();
        for entry in entries.iter().filter(|entry| self.applies(source, entry.param)) {
            if let IndexValue::Reference { target, id, base: None } = &entry.value
                && let Some(kind) = type_name(*target)
                && self.target.is_none_or(|wanted| wanted == kind)
            {
                found.insert((kind, id.as_str()));
            }
        }
        found
    }

    /// Whether a resource of type `source` with these entries refers to `Type/id`.
    pub fn refers(&self, source: &str, entries: &[IndexEntry], to: (&str, &str)) -> bool {
        if self.source.is_some_and(|wanted| wanted != source)
            || self.target.is_some_and(|wanted| wanted != to.0)
        {
            return false;
        }
        let Some(code) = type_code(to.0) else { return false };
        entries.iter().filter(|entry| self.applies(source, entry.param)).any(|entry| {
            matches!(&entry.value, IndexValue::Reference { target, id, base: None }
                if *target == code && id == to.1)
        })
    }
}
