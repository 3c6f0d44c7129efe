//! Narratives between XML, where they are elements, and JSON, where they are a text.

use std::fmt::Write as _;

use roxmltree::{Document, Node, ParsingOptions};

use super::write::{attribute, character_data};
use super::{XHTML, bounds};

/// HTML's names of characters that narratives from elsewhere use; XML knows five.
const ENTITIES: [(&str, &str); 14] = [
    ("&nbsp;", "&#160;"),
    ("&copy;", "&#169;"),
    ("&reg;", "&#174;"),
    ("&deg;", "&#176;"),
    ("&plusmn;", "&#177;"),
    ("&sup2;", "&#178;"),
    ("&micro;", "&#181;"),
    ("&middot;", "&#183;"),
    ("&times;", "&#215;"),
    ("&ndash;", "&#8211;"),
    ("&mdash;", "&#8212;"),
    ("&hellip;", "&#8230;"),
    ("&rarr;", "&#8594;"),
    ("&ge;", "&#8805;"),
];

/// The text of a `div`: as it stands in the document, or written anew when it
/// leans on a namespace prefix of the elements around it.
pub(super) fn text_of(div: Node<'_, '_>, source: &str) -> String {
    let written = &source[div.range()];
    let prefixed = div.descendants().filter(Node::is_element).any(|element| {
        let tag = source[element.range()].get(1..).unwrap_or_default();
        let name = tag.split(|c: char| c.is_whitespace() || matches!(c, '/' | '>')).next();
        name.is_some_and(|name| name.contains(':'))
    });
    let head = written.split('>').next().unwrap_or_default();
    if !prefixed && head.contains("xmlns=") {
        return written.replace("\r\n", "\n");
    }
    let mut text = String::new();
    rewrite(div, true, &mut text);
    text
}

fn rewrite(node: Node<'_, '_>, is_root: bool, text: &mut String) {
    let name = node.tag_name().name();
    let _ = write!(text, "<{name}");
    if is_root {
        let _ = write!(text, " xmlns=\"{XHTML}\"");
    }
    for given in node.attributes() {
        let prefix = if given.namespace().is_some() { "xml:" } else { "" };
        let _ = write!(text, " {prefix}{}=\"", given.name());
        attribute(given.value(), text);
        text.push('"');
    }
    if !node.has_children() {
        text.push_str("/>");
        return;
    }
    text.push('>');
    for child in node.children() {
        if child.is_element() {
            rewrite(child, false, text);
        } else if child.is_text() {
            character_data(child.text().unwrap_or_default(), text);
        }
    }
    let _ = write!(text, "</{name}>");
}

/// A narrative's text as an element. What is no well-formed `div` is shown as the
/// text that it is, so that the document around it stays well-formed.
pub(super) fn element_of(narrative: &str) -> String {
    let narrative = narrative.trim();
    if let Some(div) = well_formed(narrative) {
        return div;
    }
    let mut mended = narrative.to_owned();
    for (name, number) in ENTITIES {
        mended = mended.replace(name, number);
    }
    well_formed(&mended).unwrap_or_else(|| {
        let mut text = format!("<div xmlns=\"{XHTML}\"><p>");
        character_data(narrative, &mut text);
        text.push_str("</p></div>");
        text
    })
}

fn well_formed(narrative: &str) -> Option<String> {
    bounds::check(narrative).ok()?;
    let options = ParsingOptions { allow_dtd: false, ..ParsingOptions::default() };
    let document = Document::parse_with_options(narrative, options).ok()?;
    let root = document.root_element();
    let written = &narrative[root.range()];
    match (root.tag_name().name(), root.tag_name().namespace()) {
        ("div", Some(XHTML)) => Some(written.to_owned()),
        ("div", None) => {
            let rest = written.strip_prefix("<div")?;
            Some(format!("<div xmlns=\"{XHTML}\"{rest}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrative_stays_as_it_is_and_what_is_none_becomes_one() {
        let fine = format!("<div xmlns=\"{XHTML}\"><p title='a &gt; b'>x<br/></p></div>");
        assert_eq!(element_of(&format!(" {fine}\n")), fine);
        assert_eq!(element_of("<div>x</div>"), format!("<div xmlns=\"{XHTML}\">x</div>"));
        assert_eq!(
            element_of("<div>a&nbsp;b</div>"),
            format!("<div xmlns=\"{XHTML}\">a&#160;b</div>")
        );
        for broken in ["<div><br></div>", "a & b", "<p/>", "<div xmlns=\"urn:x\"/>", "\u{1}"] {
            let mended = element_of(broken);
            assert!(Document::parse(&mended).is_ok(), "{mended}");
        }
    }
}
