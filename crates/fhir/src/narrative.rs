//! XHTML of narratives (FHIR R4 narrative.html#xhtml): static content only.

/// Elements that a narrative may have (invariant txt-1).
const ELEMENTS: [&str; 57] = [
    "a",
    "abbr",
    "acronym",
    "b",
    "big",
    "blockquote",
    "br",
    "caption",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "li",
    "ol",
    "p",
    "pre",
    "q",
    "samp",
    "small",
    "span",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "tt",
    "ul",
    "var",
    "u",
    "s",
    "strike",
    "font",
    "center",
    "kbd",
    "ins",
    "del",
    "section",
];

/// What makes `xhtml` no narrative: not one `div`, an element that narratives
/// may not have, or an attribute that runs code.
pub(crate) fn check(xhtml: &str) -> Result<(), &'static str> {
    let text = xhtml.trim();
    if !text.starts_with("<div") || !text.ends_with('>') {
        return Err("the narrative must be one XHTML div");
    }
    let mut rest = text;
    let mut has_content = false;
    while let Some(at) = rest.find('<') {
        let between = &rest[..at];
        has_content |= !between.trim().is_empty();
        entities(between)?;
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            let end = comment.find("-->").ok_or("the narrative has a comment without end")?;
            rest = &comment[end + 3..];
            continue;
        }
        let end = tag_end(rest).ok_or("the narrative has a tag without end")?;
        let (tag, after) = rest.split_at(end);
        rest = &after[1..];
        let tag = tag.trim_start_matches('/').trim_end_matches('/');
        let name_end = tag.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(tag.len());
        let (name, attributes) = tag.split_at(name_end);
        has_content |= name == "img";
        entities(attributes)?;
        if !ELEMENTS.contains(&name) {
            return Err("the narrative has an element that narratives may not have");
        }
        if runs_code(attributes) {
            return Err("the narrative has an attribute that runs code");
        }
    }
    if has_content { Ok(()) } else { Err("the narrative has no content (txt-2)") }
}

/// Entities of XML and characters by number; others need a DTD, which there is none of.
fn entities(text: &str) -> Result<(), &'static str> {
    for (at, _) in text.match_indices('&') {
        let name = text[at + 1..].split(';').next().unwrap_or_default();
        if !name.starts_with('#') && !matches!(name, "lt" | "gt" | "amp" | "quot" | "apos") {
            return Err("the narrative has an entity that XML does not know");
        }
    }
    Ok(())
}

/// Where the tag ends, quoted attribute values skipped.
fn tag_end(tag: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in tag.char_indices() {
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            ('>', None) => return Some(at),
            _ => {}
        }
    }
    None
}

fn runs_code(attributes: &str) -> bool {
    let mut quote = None;
    let mut names = String::new();
    for c in attributes.chars() {
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            (_, None) => names.push(c.to_ascii_lowercase()),
            _ => {}
        }
    }
    let event = names
        .split(|c: char| c.is_whitespace() || c == '=' || c == '/')
        .any(|name| name.starts_with("on"));
    let compact: String =
        attributes.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
    event || compact.to_ascii_lowercase().contains("javascript:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narratives_hold_static_content_only() {
        assert_eq!(
            check(
                "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p title=\"a > b\">on=1 <br/></p><!-- <x> --></div>"
            ),
            Ok(())
        );
        assert_eq!(check("<div>&lt;&#160;&amp; <img src='#a'/></div>"), Ok(()));
        for bad in [
            "plain",
            "<div><p> </p></div>",
            "<div>a &reg; b</div>",
            "<div><script>1</script></div>",
            "<div onclick=\"x\"></div>",
            "<div><a href=\"java\nscript:x\">y</a></div>",
            "<div><iframe/></div>",
            "<div><p </div",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
