//! Finds the names in the tags of a template, and their lines.
//!
//! MiniJinja reports the variables that a template uses, but not their lines, and not the partials and filters. This
//! module parses just enough of the syntax to find these names. It expects a template that MiniJinja has accepted.

/// The tags of one template.
#[derive(Debug)]
pub(super) struct Tags<'s> {
    source: &'s str,
    tags: Vec<Tag<'s>>,
}

/// A name, with its line. Lines count from 1.
pub(super) type NameAtLine<'s> = (usize, &'s str);

#[derive(Debug)]
struct Tag<'s> {
    form: TagKind,
    tokens: Vec<(usize, TagToken<'s>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TagKind {
    /// `{{ ... }}`
    Expression,
    /// `{% ... %}`
    Statement,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TagToken<'s> {
    Word(&'s str),
    /// The text between quotes.
    Text(&'s str),
    Sign(char),
}

impl<'s> Tags<'s> {
    pub(super) fn of(source: &'s str) -> Self {
        let (mut cursor, mut tags) = (TagScanner { source, at: 0 }, Vec::new());
        while let Some(ahead) = cursor.rest().find('{') {
            cursor.at += ahead;
            let form = match cursor.rest().get(..2) {
                Some("{{") => TagKind::Expression,
                Some("{%") => TagKind::Statement,
                Some("{#") => {
                    cursor.skip_past("#}");
                    continue;
                }
                _ => {
                    cursor.at += 1;
                    continue;
                }
            };
            cursor.at += 2;
            let tag = Tag { form, tokens: cursor.tokens(form) };
            if tag.word() == Some("raw") {
                cursor.skip_raw();
            }
            tags.push(tag);
        }
        Self { source, tags }
    }

    /// Returns the templates that are included, imported or extended. `None` if the name is not a string literal.
    pub(super) fn templates(&self) -> impl Iterator<Item = (usize, Option<&'s str>)> {
        const TAGS: [&str; 4] = ["include", "import", "from", "extends"];
        const AFTER: [&str; 5] = ["ignore", "as", "import", "with", "without"];
        self.tags.iter().filter(|tag| tag.word().is_some_and(|word| TAGS.contains(&word))).map(|tag| {
            let mut tokens = tag.tokens.iter().filter(|(_, token)| !matches!(token, TagToken::Sign('-' | '+')));
            let at = tokens.next().map_or(0, |(at, _)| *at);
            let name = match (tokens.next(), tokens.next()) {
                (Some((_, TagToken::Text(name))), None) => Some(*name),
                (Some((_, TagToken::Text(name))), Some((_, TagToken::Word(word)))) if AFTER.contains(word) => {
                    Some(*name)
                }
                _ => None,
            };
            (self.line(at), name)
        })
    }

    /// Returns the filters in `text | name` and `{% filter name %}`.
    pub(super) fn filters(&self) -> impl Iterator<Item = NameAtLine<'s>> {
        let piped = self.words().filter(|(before, _, _)| *before == Some(TagToken::Sign('|')));
        let blocks = self.tags.iter().filter(|tag| tag.word() == Some("filter"));
        let blocks = blocks.filter_map(|tag| tag.words().nth(1));
        piped.map(|(_, at, word)| (at, word)).chain(blocks).map(|(at, word)| (self.line(at), word))
    }

    /// Returns the tests in `value is name` and `value is not name`.
    pub(super) fn tests(&self) -> impl Iterator<Item = NameAtLine<'s>> {
        self.tags.iter().flat_map(|tag| {
            let tokens = tag.tokens.iter().enumerate();
            let asked = tokens.filter(|(_, (_, token))| *token == TagToken::Word("is"));
            asked.filter_map(|(index, _)| {
                let mut after = tag.tokens.iter().skip(index + 1).filter(|(_, token)| *token != TagToken::Word("not"));
                match after.next() {
                    Some((at, TagToken::Word(word))) => Some((self.line(*at), *word)),
                    _ => None,
                }
            })
        })
    }

    /// Returns the line of the first use of a variable.
    pub(super) fn line_of(&self, variable: &str) -> Option<usize> {
        let own = |before: &Option<TagToken>| !matches!(before, Some(TagToken::Sign('.' | '|')));
        let found = self.words().find(|(before, _, word)| *word == variable && own(before));
        found.map(|(_, at, _)| self.line(at))
    }

    /// Returns every word, with the token before it in its tag.
    fn words(&self) -> impl Iterator<Item = (Option<TagToken<'s>>, usize, &'s str)> {
        self.tags.iter().flat_map(|tag| {
            let before = std::iter::once(None).chain(tag.tokens.iter().map(|(_, token)| Some(*token)));
            before.zip(&tag.tokens).filter_map(|(before, (at, token))| match token {
                TagToken::Word(word) => Some((before, *at, *word)),
                TagToken::Text(_) | TagToken::Sign(_) => None,
            })
        })
    }

    fn line(&self, at: usize) -> usize {
        line_at(self.source, at)
    }
}

impl<'s> Tag<'s> {
    /// Returns the keyword of a statement.
    fn word(&self) -> Option<&'s str> {
        self.words().next().filter(|_| self.form == TagKind::Statement).map(|(_, word)| word)
    }

    fn words(&self) -> impl Iterator<Item = (usize, &'s str)> {
        self.tokens.iter().filter_map(|(at, token)| match token {
            TagToken::Word(word) => Some((*at, *word)),
            TagToken::Text(_) | TagToken::Sign(_) => None,
        })
    }
}

/// Returns the line, counted from 1, of a byte.
pub(super) fn line_at(source: &str, at: usize) -> usize {
    source.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

struct TagScanner<'s> {
    source: &'s str,
    at: usize,
}

impl<'s> TagScanner<'s> {
    fn rest(&self) -> &'s str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn skip_past(&mut self, end: &str) {
        self.at = self.rest().find(end).map_or(self.source.len(), |ahead| self.at + ahead + end.len());
    }

    /// Skips to the tag that ends a raw block.
    fn skip_raw(&mut self) {
        while let Some(ahead) = self.rest().find("{%") {
            self.at += ahead;
            let tag = self.rest().trim_start_matches("{%").trim_start_matches(['-', '+']).trim_start();
            if tag.starts_with("endraw") {
                return;
            }
            self.at += 2;
        }
        self.at = self.source.len();
    }

    /// Reads the tokens of a tag, and skips its end.
    fn tokens(&mut self, form: TagKind) -> Vec<(usize, TagToken<'s>)> {
        let end = match form {
            TagKind::Expression => "}}",
            TagKind::Statement => "%}",
        };
        let (mut tokens, mut braces) = (Vec::new(), 0_u32);
        while let Some(next) = self.rest().chars().next() {
            let (at, rest) = (self.at, self.rest());
            if braces == 0 && rest.starts_with(end) {
                self.at += end.len();
                break;
            }
            if next == '"' || next == '\'' {
                self.at += 1;
                tokens.push((at, TagToken::Text(self.text(next))));
            } else if next.is_alphanumeric() || next == '_' {
                let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                self.at += length;
                tokens.push((at, TagToken::Word(rest.get(..length).unwrap_or_default())));
            } else {
                self.at += next.len_utf8();
                match next {
                    '{' => braces += 1,
                    '}' => braces = braces.saturating_sub(1),
                    _ => {}
                }
                if !next.is_whitespace() {
                    tokens.push((at, TagToken::Sign(next)));
                }
            }
        }
        tokens
    }

    /// Reads up to the closing quote, and skips it.
    fn text(&mut self, quote: char) -> &'s str {
        let rest = self.rest();
        let mut escaped = false;
        let end = rest.find(|c: char| {
            let ends = c == quote && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        self.at += end.map_or(rest.len(), |end| end + 1);
        rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partials_are_found_and_computed_names_are_none() {
        let source = r#"
{% include "_a.md" %}{%- include '_b.md' ignore missing -%}
{% import "_c.md" as c %}
{% from "_d.md" import x, y as z %}{% extends "_e.md" %}
{% include name %}
{% include "_a" ~ name %}{% include ["_a.md", "_b.md"] %}
{% include "_a.md" if x else "_b.md" %}
{# {% include "_comment.md" %} #}{{ "{% include '_text.md' %}" }}
{% raw %}{% include "_raw.md" %}{{ raw | nofilter }}{% endraw %}{% include "_f.md" %}"#;
        let found: Vec<_> = Tags::of(source).templates().collect();
        assert_eq!(
            found,
            [
                (2, Some("_a.md")),
                (2, Some("_b.md")),
                (3, Some("_c.md")),
                (4, Some("_d.md")),
                (4, Some("_e.md")),
                (5, None),
                (6, None),
                (6, None),
                (7, None),
                (9, Some("_f.md")),
            ]
        );
    }

    #[test]
    fn filters_and_tests_are_found() {
        let source = "{{ a | upper | join(\", | no\") }}\n{% if b is defined and c is not none %}{% endif %}\n\
                      {% filter lower | trim %}{% endfilter %}{{ {\"a\": {\"b\": c | first}} | tojson }}{{ x.is.y }}";
        let tags = Tags::of(source);
        let filters: Vec<_> = tags.filters().collect();
        assert_eq!(filters, [(1, "upper"), (1, "join"), (3, "trim"), (3, "first"), (3, "tojson"), (3, "lower")]);
        let tests: Vec<_> = tags.tests().collect();
        assert_eq!(tests, [(2, "defined"), (2, "none")]);
    }

    #[test]
    fn variable_is_found_only_as_a_variable_in_a_tag() {
        let tags = Tags::of("text\n{{ a.text }}{{ 'text' }}\n{{ texts | text }}\n{{ 'it\\'s' ~ text }}");
        assert_eq!((tags.line_of("text"), tags.line_of("none")), (Some(4), None));
    }

    #[test]
    fn unterminated_tags_end_with_the_source() {
        for source in ["{", "{{", "{{ a", "{% include \"_a", "{# a", "{% raw %}{% a", "{{ '\\", "{{ ü|ü"] {
            Tags::of(source);
        }
    }
}
