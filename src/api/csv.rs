//! Tables as CSV (RFC 4180).

/// A table in the making.
#[derive(Debug)]
pub struct CsvTable(String);

impl CsvTable {
    pub const CONTENT_TYPE: &str = "text/csv; charset=utf-8; header=present";

    /// Creates a table with the names of its columns.
    pub fn new<'a>(columns: impl IntoIterator<Item = &'a str>) -> Self {
        let mut table = Self(String::new());
        table.row(columns.into_iter().map(str::to_owned));
        table
    }

    pub fn row(&mut self, fields: impl IntoIterator<Item = String>) {
        for (index, field) in fields.into_iter().enumerate() {
            if index > 0 {
                self.0.push(',');
            }
            if field.contains([',', '"', '\r', '\n']) {
                self.0.push('"');
                self.0.push_str(&field.replace('"', "\"\""));
                self.0.push('"');
            } else {
                self.0.push_str(&field);
            }
        }
        self.0.push_str("\r\n");
    }

    pub fn into_text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_separators_quotes_or_line_breaks_are_quoted() {
        let mut table = CsvTable::new(["a", "b"]);
        table.row(["plain text".to_owned(), String::new()]);
        table.row(["x,y".to_owned(), "say \"hi\"".to_owned()]);
        table.row(["two\nlines".to_owned(), "\r".to_owned()]);
        let text = "a,b\r\nplain text,\r\n\"x,y\",\"say \"\"hi\"\"\"\r\n\"two\nlines\",\"\r\"\r\n";
        assert_eq!(table.into_text(), text);
    }
}
