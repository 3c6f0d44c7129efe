//! Section text: what entries refer to, as plain text.

use std::cell::Cell;
use std::collections::HashMap;

use super::xml::{Lookup, Node};

/// Characters of one text that an entry refers to.
const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Bytes of all texts that are looked up in one document: entries that all
/// refer to one big text would otherwise copy it for each.
const ALL_TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The parts of the narrative that have an `ID`.
pub(super) struct Narrative<'d> {
    parts: HashMap<&'d str, Node<'d>>,
    left: Cell<usize>,
}

impl<'d> Narrative<'d> {
    pub fn of(root: Node<'d>) -> Self {
        let mut parts = HashMap::new();
        for node in root.descendants().filter(|node| node.is_element()) {
            if let Some(id) = node.attr("ID") {
                parts.entry(id).or_insert(node);
            }
        }
        Self { parts, left: Cell::new(ALL_TEXT_BYTES_MAX) }
    }

    /// The text of an ED or ST element (`text`, `originalText`): what it refers
    /// to, or its own characters.
    pub fn text(&self, node: Node<'d>) -> Option<String> {
        let reference = node.child("reference").and_then(|reference| reference.attr("value"));
        let referred = reference.and_then(|value| {
            let part = self.parts.get(value.strip_prefix('#').unwrap_or(value))?;
            self.plain(*part)
        });
        referred.or_else(|| self.plain(node))
    }

    /// The characters of an element and all within it, on one line for each
    /// paragraph, item or row.
    pub fn plain(&self, node: Node<'d>) -> Option<String> {
        let bound = self.left.get().min(TEXT_BYTES_MAX);
        let mut room = bound;
        let mut text = String::new();
        collect(node, &mut room, &mut text);
        self.left.set(self.left.get() - (bound - room));
        let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        let lines: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
        let text = lines.join("\n");
        (!text.is_empty()).then_some(text)
    }

    /// Whether texts had to be left out.
    pub fn is_exhausted(&self) -> bool {
        self.left.get() == 0
    }
}

/// Recurses no deeper than the document, whose depth is bounded. Elements take
/// room too, so that empty ones do not cost time for nothing.
fn collect(node: Node<'_>, room: &mut usize, text: &mut String) {
    for child in node.children() {
        if *room == 0 {
            return;
        }
        *room -= 1;
        if child.is_text() {
            let whole = child.text().unwrap_or_default();
            let end = whole.floor_char_boundary(*room);
            // A line break of the source is no line break of the text.
            let part = whole.get(..end).unwrap_or_default();
            text.push_str(&part.replace(['\n', '\r', '\t'], " "));
            *room = if end < whole.len() { 0 } else { *room - end };
        } else if child.is_element() {
            let name = child.tag_name().name();
            let breaks =
                matches!(name, "paragraph" | "item" | "tr" | "br" | "list" | "table" | "caption");
            if breaks {
                text.push('\n');
            } else if matches!(name, "td" | "th") {
                text.push(' ');
            }
            collect(child, room, text);
            if breaks {
                text.push('\n');
            }
        }
    }
}
