//! The sections of a prompt: the templates of its messages.

use super::Role;
use super::error::{CatalogErrorKind, LineError};

/// A message's template.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) role: Role,
    /// Padded with leading newlines, so that line numbers in errors are those of the file.
    pub(super) source: String,
}

const MAX_SECTIONS: usize = 100;

impl Section {
    /// Splits the text after the front matter at the headings. This happens before rendering, so that the value of a
    /// variable cannot add a section.
    pub(super) fn split(body: &str, first_line: usize) -> Result<Vec<Self>, LineError> {
        let mut sections: Vec<Self> = Vec::new();
        for (text, line) in body.split_inclusive('\n').zip(first_line..) {
            match heading(text).map_err(|problem| LineError::new(line, problem))? {
                Some(_) if sections.len() == MAX_SECTIONS => {
                    return Err(LineError::new(line, CatalogErrorKind::Sections));
                }
                Some(role) => sections.push(Self { role, source: "\n".repeat(line) }),
                None => match sections.last_mut() {
                    Some(section) => section.source.push_str(text),
                    None if text.trim().is_empty() => {}
                    None => return Err(LineError::new(line, CatalogErrorKind::TextBeforeSections)),
                },
            }
        }
        if sections.is_empty() { Err(LineError::new(first_line, CatalogErrorKind::NoSection)) } else { Ok(sections) }
    }
}

/// Returns the role if `line` is a heading. Refuses a line that is almost a heading: it is probably a mistake, and
/// would be sent to the model as text.
fn heading(line: &str) -> Result<Option<Role>, CatalogErrorKind> {
    let line = line.trim_end_matches(['\n', '\r']);
    let word = line.trim().trim_start_matches('#').trim_start();
    let nearly = |role: &Role| line.trim().starts_with('#') && word.eq_ignore_ascii_case(role.name());
    let Some(role) = Role::ALL.into_iter().find(nearly) else { return Ok(None) };
    let exact = line.strip_prefix("# ") == Some(role.name());
    if exact { Ok(Some(role)) } else { Err(CatalogErrorKind::NearlyASection(role.name())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(body: &str) -> Result<Vec<(Role, String)>, String> {
        let sections = Section::split(body, 5).map_err(|fault| format!("{}: {}", fault.line, fault.problem))?;
        Ok(sections.into_iter().map(|section| (section.role, section.source)).collect())
    }

    #[test]
    fn section_ends_at_the_next_and_keeps_its_line_numbers() {
        let sections = split("\n# system\nBe brief.\n\n# user\r\n{{ text }}\n# user\n# assistant").expect("sections");
        let lines = |above: usize, text: &str| "\n".repeat(above) + text;
        assert_eq!(
            sections,
            [
                (Role::System, lines(6, "Be brief.\n\n")),
                (Role::User, lines(9, "{{ text }}\n")),
                (Role::User, lines(11, "")),
                (Role::Assistant, lines(12, "")),
            ]
        );
    }

    #[test]
    fn other_headings_are_text() {
        for line in ["# Rules", "# system rules", "#", "system", "user", "`# system`", "- # user"] {
            let sections = split(&format!("# user\n{line}\n")).expect(line);
            assert_eq!(sections.len(), 1, "{line}");
            assert!(sections[0].1.ends_with(&format!("{line}\n")), "{line}");
        }
    }

    #[test]
    fn almost_a_heading_is_refused() {
        for line in ["# System", "#user", "## assistant", "# user ", " # user", "#  user"] {
            let refusal = split(&format!("# user\n{line}\n")).expect_err(line);
            assert!(refusal.starts_with("6: the heading of a section must be exactly `# "), "{refusal}");
        }
    }

    #[test]
    fn number_of_sections_is_1_to_100() {
        assert!(split("\n\n").is_err());
        assert_eq!(split(&"# user\n".repeat(100)).map(|sections| sections.len()), Ok(100));
        assert!(split(&"# user\n".repeat(101)).expect_err("too many").starts_with("105: "));
    }
}
