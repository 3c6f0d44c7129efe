//! CSV for spreadsheets: RFC 4180 quoting, and no cell that a spreadsheet
//! would run as a formula (OWASP, CSV injection).

/// A table that is being written.
pub(crate) struct Table(csv::Writer<Vec<u8>>);

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        let mut table = Table(
            csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new()),
        );
        table.row(head);
        table
    }

    pub(crate) fn row(&mut self, cells: &[impl AsRef<str>]) {
        // Writing to memory cannot fail, and every row is as long as the head.
        let _ = self.0.write_record(cells.iter().map(|cell| harmless(cell.as_ref()).into_owned()));
    }

    pub(crate) fn finish(self) -> String {
        let bytes = self.0.into_inner().unwrap_or_default();
        String::from_utf8(bytes).unwrap_or_default()
    }
}

/// The cell with an apostrophe before it if a spreadsheet could take it for a
/// formula: first character `=`, `+`, `-`, `@`, tab or line break, also behind
/// blanks.
pub(crate) fn harmless(cell: &str) -> std::borrow::Cow<'_, str> {
    let control = cell.starts_with(['\t', '\r', '\n']);
    // Full-width forms are folded to their plain twins by some spreadsheets.
    let formula = cell.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    if control || formula { format!("'{cell}").into() } else { cell.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_begins_like_a_formula() {
        for cell in
            ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "  =cmd|' /C calc'!A0", "\r=1", "\n=1", "＝1"]
        {
            assert_eq!(harmless(cell), format!("'{cell}"));
        }
        for cell in ["", "O'Neil", "Anne-Marie", "a=b", "12 Oak St"] {
            assert_eq!(harmless(cell), cell);
        }
    }

    #[test]
    fn quotes_commas_and_line_breaks_survive() {
        let cells = ["say \"hi\"", "a, b", "two\r\nlines", "plain"];
        let mut table = Table::new(&["1", "2", "3", "4"]);
        table.row(&cells);
        let text = table.finish();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let row = reader.records().next().expect("one row").expect("well-formed");
        assert_eq!(row.iter().collect::<Vec<_>>(), cells);
    }
}
