//! Fields and their parts.

use std::borrow::Cow;

use super::escape::unescape;
use super::{Charset, Delimiters};

/// Repetitions of one field that are read; long texts in lines have hundreds.
const REPETITIONS_COUNT_MAX: usize = 10_000;

/// A field, a repetition, a component or a subcomponent: bytes of the message
/// and how to read them. Asking for a part that is not there gives an empty one.
#[derive(Clone, Copy)]
pub struct Part<'m> {
    raw: &'m [u8],
    delimiters: &'m Delimiters,
    charset: Charset,
}

impl std::fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Part({} bytes)", self.raw.len())
    }
}

impl<'m> Part<'m> {
    pub(super) fn new(raw: &'m [u8], delimiters: &'m Delimiters, charset: Charset) -> Self {
        Self { raw, delimiters, charset }
    }

    /// The bytes as they stand in the message.
    pub fn raw(&self) -> &'m [u8] {
        self.raw
    }

    /// Whether nothing was sent, white space and the empty-string mark `""`
    /// included: no value either way.
    pub fn is_empty(&self) -> bool {
        self.raw.iter().all(|byte| byte.is_ascii_whitespace()) || self.is_null()
    }

    /// Whether the sender asks to delete the value: `""` (section 2.5.3).
    pub fn is_null(&self) -> bool {
        self.raw.trim_ascii() == b"\"\""
    }

    /// The characters, escape sequences replaced. Delimiters that were not
    /// escaped are characters: `A & B` in a text field is `A & B`.
    pub fn text(&self) -> Cow<'m, str> {
        unescape(self.raw, self.delimiters, self.charset)
    }

    /// [`text`](Self::text) without surrounding white space; `None` if nothing
    /// is left or the part is [null](Self::is_null).
    pub fn value(&self) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let text = self.text();
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The repetitions of a field, also the empty ones; none of an empty field,
    /// and not more than 10,000.
    pub fn repetitions(&self) -> impl Iterator<Item = Part<'m>> + use<'m> {
        let part = *self;
        let raw = (!part.raw.is_empty()).then_some(part.raw);
        raw.into_iter()
            .flat_map(move |raw| raw.split(move |byte| *byte == part.delimiters.repetition))
            .take(REPETITIONS_COUNT_MAX)
            .map(move |raw| part.with(raw))
    }

    /// The component with this number, from 1.
    pub fn component(&self, number: usize) -> Part<'m> {
        self.nth(Some(self.delimiters.component), number)
    }

    /// All from the component with this number on, delimiters included: for data
    /// at the end of a field whose sender did not escape them.
    pub fn from_component(&self, number: usize) -> Part<'m> {
        let component = self.delimiters.component;
        let raw =
            self.raw.splitn(number.max(1), |byte| *byte == component).nth(number.saturating_sub(1));
        self.with(raw.unwrap_or_default())
    }

    /// The subcomponent of a component with this number, from 1.
    pub fn subcomponent(&self, number: usize) -> Part<'m> {
        self.nth(self.delimiters.subcomponent, number)
    }

    /// How many components there are; 1 for a part without a delimiter.
    pub fn components_count(&self) -> usize {
        self.raw.iter().filter(|byte| **byte == self.delimiters.component).count() + 1
    }

    /// [`value`](Self::value) of a component's first subcomponent.
    pub fn at(&self, component: usize) -> Option<String> {
        self.component(component).subcomponent(1).value()
    }

    fn nth(&self, delimiter: Option<u8>, number: usize) -> Part<'m> {
        let index = number.saturating_sub(1);
        let raw = match delimiter {
            Some(delimiter) => self.raw.split(|byte| *byte == delimiter).nth(index),
            None => (index == 0).then_some(self.raw),
        };
        self.with(raw.unwrap_or_default())
    }

    fn with(&self, raw: &'m [u8]) -> Part<'m> {
        Part { raw, ..*self }
    }
}
