//! The page: where things stand, and laying blocks out in pieces that
//! pagination moves but never splits. Lengths are points, 1/72 inch; y grows
//! downwards from the top edge.

use super::{
    fonts::{Cut, Fonts},
    lines::{Line, Run, break_lines},
};
use crate::document::{Block, Document, Table};

pub(super) const WIDTH: f32 = 612.0;
pub(super) const HEIGHT: f32 = 792.0;
pub(super) const LEFT: f32 = 72.0;
pub(super) const RIGHT: f32 = 534.0;
pub(super) const MEASURE: f32 = RIGHT - LEFT;
/// Text ends here; below are the rule and the foot.
pub(super) const BOTTOM: f32 = 726.0;
/// Top of the text on the first page: below the window and the upper fold.
pub(super) const FIRST_TOP: f32 = 272.0;
/// Top of the text on the pages that follow.
pub(super) const NEXT_TOP: f32 = 80.0;

/// What shows through a number 10 envelope's window (4 1/2 by 1 1/8 inches, 7/8
/// from the left, 1/2 from the bottom) wherever a letter folded in three slides
/// in it: 2.5 to 3.17 inches below the letter's top edge. The address stands
/// centred there; nothing else stands between 2.04 and 3.63 inches left of
/// 5.4 inches.
const WINDOW_MIDDLE: f32 = 202.0;
const WINDOW_BOTTOM: f32 = 227.0;
/// The widest line that shows whole wherever the letter slides, and the most
/// lines.
const WINDOW_WIDTH: f32 = 243.0;
const WINDOW_LINES: usize = 5;
/// Where date and reference stand: right of the window.
pub(super) const DATE_LEFT: f32 = 408.0;

pub(super) const BODY: f32 = 11.3;
const BODY_LEADING: f32 = 14.8;
/// No text is smaller: Cal. Civ. Code 1798.82(d)(1)(C) wants 10-point type.
pub(super) const SMALL: f32 = 10.0;
pub(super) const SMALL_LEADING: f32 = 13.0;
const TABLE: f32 = 10.5;
const TABLE_LEADING: f32 = 13.4;
const WHOLE_TABLE_ROWS: usize = 14;

/// Colours; those of text are dark enough for print and for contrast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    Text,
    Accent,
    Quiet,
    /// For rules between rows only.
    Hair,
}

/// A line of text in a piece; `dy` is the baseline below the piece's top.
pub(super) struct Text {
    pub(super) x: f32,
    pub(super) dy: f32,
    pub(super) size: f32,
    pub(super) ink: Ink,
    pub(super) line: Line,
    /// Which part of the tag tree it belongs to.
    pub(super) leaf: usize,
}

/// A thin horizontal line.
pub(super) struct Rule {
    pub(super) dy: f32,
    pub(super) weight: f32,
    pub(super) ink: Ink,
}

/// What is never split between pages.
pub(super) struct Piece {
    /// White space above, unless at the top of a page.
    pub(super) before: f32,
    pub(super) height: f32,
    pub(super) texts: Vec<Text>,
    pub(super) rules: Vec<Rule>,
    /// Must stand on the same page as the piece that follows.
    pub(super) keep: bool,
    /// Text of the heading that begins here, for the outline.
    pub(super) heading: Option<String>,
}

/// The structure for screen readers, in reading order.
pub(super) enum Plan {
    Group(Role, Vec<Plan>),
    Leaf(usize),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Role {
    Title(String),
    Heading(String),
    Paragraph,
    List,
    Item,
    Label,
    Body,
    Table,
    Head,
    Rows,
    Row,
    HeadCell,
    Cell,
}

/// A document in pieces.
pub(super) struct Layout<'a> {
    fonts: &'a Fonts,
    /// The pieces of the text, top to bottom.
    pub(super) flow: Vec<Piece>,
    /// Letterhead, address and date: first page, with the y of their tops.
    pub(super) fixed: Vec<(f32, Piece)>,
    pub(super) plan: Vec<Plan>,
    pub(super) leaves: usize,
}

impl<'a> Layout<'a> {
    pub(super) fn of(fonts: &'a Fonts, document: &Document) -> Self {
        let mut layout =
            Layout { fonts, flow: Vec::new(), fixed: Vec::new(), plan: Vec::new(), leaves: 0 };
        layout.letterhead(document);
        let baseline = layout.address(document);
        layout.date(document, baseline);
        for block in &document.blocks {
            layout.block(block);
        }
        layout
    }

    fn leaf(&mut self) -> usize {
        self.leaves += 1;
        self.leaves - 1
    }

    fn paragraph_plan(&mut self) -> usize {
        let leaf = self.leaf();
        self.plan.push(Plan::Group(Role::Paragraph, vec![Plan::Leaf(leaf)]));
        leaf
    }

    // The head of the first page.

    fn letterhead(&mut self, document: &Document) {
        let mut piece = piece(0.0, 0.0);
        let leaf = self.paragraph_plan();
        let mut dy = 0.0;
        let name = self.lines(&[run(Cut::Semibold, &document.sender.name)], 19.0, MEASURE);
        for line in name {
            dy += 21.0;
            piece.texts.push(Text { x: LEFT, dy, size: 19.0, ink: Ink::Accent, line, leaf });
        }
        dy += 3.0;
        let details = document
            .sender
            .details
            .join("  ·  ")
            .replace(' ', "\u{a0}")
            .replace("\u{a0}\u{a0}·\u{a0}\u{a0}", " · ");
        let leaf = self.paragraph_plan();
        for line in self.lines(&[run(Cut::Regular, &details)], SMALL, MEASURE) {
            dy += SMALL_LEADING;
            piece.texts.push(Text { x: LEFT, dy, size: SMALL, ink: Ink::Quiet, line, leaf });
        }
        dy += 7.0;
        piece.rules.push(Rule { dy, weight: 0.9, ink: Ink::Accent });
        if !document.sender.on_behalf.is_empty() {
            let leaf = self.paragraph_plan();
            dy += 2.0;
            for line in self.lines(&[run(Cut::Italic, &document.sender.on_behalf)], SMALL, MEASURE)
            {
                dy += SMALL_LEADING;
                piece.texts.push(Text { x: LEFT, dy, size: SMALL, ink: Ink::Quiet, line, leaf });
            }
        }
        self.fixed.push((40.0, piece));
    }

    /// The address, centred in what always shows through the window. Gives the
    /// baseline of its first line.
    fn address(&mut self, document: &Document) -> f32 {
        let count = document.addressee.len().max(1) as f32;
        let (size, leading) = address_type(document.addressee.len());
        let height = count * leading;
        let top = (WINDOW_MIDDLE - height / 2.0).min(WINDOW_BOTTOM - height);
        let mut piece = piece(0.0, height);
        let leaf = self.paragraph_plan();
        let mut dy = -2.6;
        for text in &document.addressee {
            dy += leading;
            let line = vec![run(Cut::Regular, &self.fonts.drawable(text))];
            piece.texts.push(Text { x: LEFT, dy, size, ink: Ink::Text, line, leaf });
        }
        self.fixed.push((top, piece));
        top + leading - 2.6
    }

    fn date(&mut self, document: &Document, baseline: f32) {
        let mut piece = piece(0.0, 2.0 * SMALL_LEADING);
        let reference = format!("Reference {}", document.reference);
        let mut dy = 0.0;
        for (text, ink) in [(&document.date, Ink::Text), (&reference, Ink::Quiet)] {
            let leaf = self.paragraph_plan();
            dy += 14.0;
            let line = vec![run(Cut::Regular, text)];
            piece.texts.push(Text { x: DATE_LEFT, dy, size: 11.0, ink, line, leaf });
        }
        self.fixed.push((baseline - 14.0, piece));
    }

    // The flow.

    fn block(&mut self, block: &Block) {
        match block {
            Block::Title(text) => {
                let runs = [run(Cut::Semibold, text)];
                self.heading(&runs, 17.0, 22.0, 0.0, Role::Title(text.clone()), text);
            }
            Block::Heading(text) => {
                let runs = [run(Cut::Semibold, text)];
                self.heading(&runs, 12.5, 16.0, 13.0, Role::Heading(text.clone()), text);
            }
            Block::Paragraph(text) => {
                let leaf = self.paragraph_plan();
                let lines = self.lines(&[run(Cut::Regular, text)], BODY, MEASURE);
                // Close under a heading, open under another paragraph.
                let before = match self.flow.len() {
                    1 => 8.0, // the title
                    _ if self.flow.last().is_some_and(|piece| piece.heading.is_some()) => 2.5,
                    _ => 7.5,
                };
                self.text(lines, LEFT, leaf, before);
            }
            Block::Bullets(bullets) => self.bullets(bullets),
            Block::Columns(columns) => self.columns(columns),
            Block::Table(table) => self.table(table),
            Block::Signature(closing, names) => self.signature(closing, names),
        }
    }

    fn lines(&self, runs: &[Run], size: f32, width: f32) -> Vec<Line> {
        let mut lines = break_lines(self.fonts, runs, size, width);
        let last = lines.len().saturating_sub(1);
        // A blank at the break, so that extracted text does not run together.
        for run in lines.iter_mut().take(last).filter_map(|line| line.last_mut()) {
            run.text.push(' ');
        }
        lines
    }

    fn heading(
        &mut self,
        runs: &[Run],
        size: f32,
        leading: f32,
        before: f32,
        role: Role,
        text: &str,
    ) {
        let leaf = self.leaf();
        self.plan.push(Plan::Group(role, vec![Plan::Leaf(leaf)]));
        let mut piece = piece(before, 0.0);
        for line in self.lines(runs, size, MEASURE) {
            piece.height += leading;
            let dy = piece.height - 0.26 * leading;
            piece.texts.push(Text { x: LEFT, dy, size, ink: Ink::Accent, line, leaf });
        }
        piece.keep = true;
        piece.heading = Some(text.to_owned());
        self.flow.push(piece);
    }

    /// Lines of body text; never one alone at the top or the bottom of a page.
    fn text(&mut self, lines: Vec<Line>, x: f32, leaf: usize, before: f32) {
        let count = lines.len();
        for (place, line) in lines.into_iter().enumerate() {
            let mut piece = piece(if place == 0 { before } else { 0.0 }, BODY_LEADING);
            piece.keep = count > 1 && (place == 0 || place + 2 == count);
            let dy = 0.76 * BODY_LEADING;
            piece.texts.push(Text { x, dy, size: BODY, ink: Ink::Text, line, leaf });
            self.flow.push(piece);
        }
    }

    fn bullets(&mut self, bullets: &[(String, String)]) {
        const INDENT: f32 = 17.0;
        if bullets.is_empty() {
            return;
        }
        let under_table = self.flow.last().is_some_and(|piece| !piece.rules.is_empty());
        let above = if under_table { 9.0 } else { 4.0 };
        let mut items = Vec::new();
        for (place, (lead, text)) in bullets.iter().enumerate() {
            let (label, body) = (self.leaf(), self.leaf());
            items.push(Plan::Group(
                Role::Item,
                vec![
                    Plan::Group(Role::Label, vec![Plan::Leaf(label)]),
                    Plan::Group(Role::Body, vec![Plan::Leaf(body)]),
                ],
            ));
            let runs = [run(Cut::Semibold, lead), run(Cut::Regular, text)];
            let lines = self.lines(&runs, BODY, MEASURE - INDENT);
            let first = self.flow.len();
            self.text(lines, LEFT + INDENT, body, if place == 0 { above } else { 3.2 });
            if let Some(piece) = self.flow.get_mut(first) {
                let dot = Text {
                    x: LEFT + 5.0,
                    dy: 0.76 * BODY_LEADING,
                    size: BODY,
                    ink: Ink::Accent,
                    line: vec![run(Cut::Regular, "• ")],
                    leaf: label,
                };
                piece.texts.insert(0, dot);
            }
        }
        self.plan.push(Plan::Group(Role::List, items));
    }

    fn columns(&mut self, columns: &[(String, Vec<String>)]) {
        if columns.is_empty() {
            return;
        }
        // At least thirds, so that two columns align with three elsewhere.
        let step = MEASURE / columns.len().max(2) as f32;
        let mut out = piece(6.0, 0.0);
        for (place, (name, rest)) in columns.iter().enumerate() {
            let x = LEFT + step * place as f32;
            let leaf = self.paragraph_plan();
            let mut dy = -1.0;
            let head = (Cut::Semibold, name);
            for (cut, text) in
                [head].into_iter().chain(rest.iter().map(|text| (Cut::Regular, text)))
            {
                for mut line in self.lines(&[run(cut, text)], TABLE, step - 10.0) {
                    dy += TABLE_LEADING;
                    if let Some(run) = line.last_mut() {
                        run.text.push(' ');
                    }
                    out.texts.push(Text { x, dy, size: TABLE, ink: Ink::Text, line, leaf });
                }
            }
            out.height = out.height.max(dy + 4.0);
        }
        // The words above belong to it.
        if let Some(above) = self.flow.last_mut() {
            above.keep = true;
        }
        self.flow.push(out);
    }

    fn table(&mut self, table: &Table) {
        let (head, head_plan) = self.row(table, &table.head, Cut::Semibold, Role::HeadCell);
        let mut rows = Vec::new();
        let mut pieces = vec![Piece { before: 7.0, keep: true, ..head }];
        for row in &table.rows {
            let (piece, plan) = self.row(table, row, Cut::Regular, Role::Cell);
            pieces.push(piece);
            rows.push(plan);
        }
        // A short table stays whole; of a long one, never the head and one row
        // alone, nor one row alone.
        let count = pieces.len();
        for (place, piece) in pieces.iter_mut().enumerate() {
            let ends = place < 2 || place + 2 == count;
            piece.keep = place + 1 < count && (ends || count <= WHOLE_TABLE_ROWS);
        }
        self.flow.extend(pieces);
        self.plan.push(Plan::Group(
            Role::Table,
            vec![Plan::Group(Role::Head, vec![head_plan]), Plan::Group(Role::Rows, rows)],
        ));
    }

    fn row(&mut self, table: &Table, cells: &[String], cut: Cut, role: Role) -> (Piece, Plan) {
        let mut out = piece(0.0, 0.0);
        let mut plan = Vec::new();
        let mut left = LEFT;
        for (place, cell) in cells.iter().enumerate() {
            let width = table.widths.get(place).copied().unwrap_or_default() * MEASURE;
            let gap = if place + 1 == cells.len() { 0.0 } else { 12.0 };
            let leaf = self.leaf();
            plan.push(Plan::Group(role.clone(), vec![Plan::Leaf(leaf)]));
            let mut dy = 1.5;
            for line in self.lines(&[run(cut, cell)], TABLE, width - gap) {
                dy += TABLE_LEADING;
                let used: f32 = line
                    .iter()
                    .map(|run| self.fonts.width(run.cut, TABLE, run.text.trim_end()))
                    .sum();
                let numeric = table.numeric.get(place).copied().unwrap_or_default();
                let x = if numeric { left + width - gap - used } else { left };
                out.texts.push(Text { x, dy, size: TABLE, ink: Ink::Text, line, leaf });
            }
            out.height = out.height.max(dy + 5.0);
            left += width;
        }
        let (weight, ink) =
            if role == Role::HeadCell { (0.8, Ink::Accent) } else { (0.5, Ink::Hair) };
        out.rules.push(Rule { dy: out.height, weight, ink });
        (out, Plan::Group(Role::Row, plan))
    }

    fn signature(&mut self, closing: &str, names: &[String]) {
        // With at least the last lines above it.
        let from = self.flow.len().saturating_sub(2);
        for piece in &mut self.flow[from..] {
            piece.keep = true;
        }
        let mut out = piece(12.0, 0.0);
        let leaf = self.paragraph_plan();
        let mut dy = 0.76 * BODY_LEADING;
        let line = vec![run(Cut::Regular, closing)];
        out.texts.push(Text { x: LEFT, dy, size: BODY, ink: Ink::Text, line, leaf });
        dy += 22.0; // for the hand
        for name in names {
            dy += BODY_LEADING;
            let leaf = self.paragraph_plan();
            let line = vec![run(Cut::Regular, &self.fonts.drawable(name))];
            out.texts.push(Text { x: LEFT, dy, size: BODY, ink: Ink::Text, line, leaf });
        }
        out.height = dy + 4.0;
        self.flow.push(out);
    }
}

/// Size and leading of an address of `count` lines: more than four are tighter.
fn address_type(count: usize) -> (f32, f32) {
    if count > 4 { (SMALL, 11.6) } else { (11.0, 13.4) }
}

/// Whether all of the address shows through the window.
pub(crate) fn fits_window(fonts: &Fonts, addressee: &[String]) -> bool {
    let (size, _) = address_type(addressee.len());
    addressee.len() <= WINDOW_LINES
        && addressee
            .iter()
            .all(|line| fonts.width(Cut::Regular, size, &fonts.drawable(line)) <= WINDOW_WIDTH)
}

fn piece(before: f32, height: f32) -> Piece {
    Piece { before, height, texts: Vec::new(), rules: Vec::new(), keep: false, heading: None }
}

pub(super) fn run(cut: Cut, text: &str) -> Run {
    Run { cut, text: text.to_owned() }
}

/// Places pieces on pages: page number from 0 and y of the top, for each.
pub(super) fn paginate(flow: &[Piece]) -> Vec<(usize, f32)> {
    let mut places = Vec::with_capacity(flow.len());
    let (mut page, mut y, mut fresh) = (0, FIRST_TOP, true);
    let mut start = 0;
    while start < flow.len() {
        let mut end = start;
        while flow[end].keep && end + 1 < flow.len() {
            end += 1;
        }
        let group = &flow[start..=end];
        let needed: f32 = group.iter().map(|piece| piece.before + piece.height).sum();
        if y + needed > BOTTOM && !fresh {
            (page, y, fresh) = (page + 1, NEXT_TOP, true);
        }
        for piece in group {
            // A group taller than a page is split after all.
            if y + piece.before + piece.height > BOTTOM && !fresh {
                (page, y, fresh) = (page + 1, NEXT_TOP, true);
            }
            if !fresh {
                y += piece.before;
            }
            places.push((page, y));
            y += piece.height;
            fresh = false;
        }
        start = end + 1;
    }
    places
}
