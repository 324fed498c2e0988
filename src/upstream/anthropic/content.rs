//! Converts the content of a chat message to Anthropic's content blocks.

use super::super::unsupported_field::UnsupportedFieldError;
use crate::domain::json_values::{copy, object, raw, text, unescape};
use crate::json::{Object, RawText, Tree};

/// Returns the blocks of a message's content: a text, or a list of parts. `place` is the place of the content in the
/// request.
///
/// A block without text is left out: Anthropic refuses it.
pub fn blocks(content: Option<&Tree>, place: &str) -> Result<Vec<Tree>, UnsupportedFieldError> {
    match content {
        None => Ok(Vec::new()),
        Some(Tree::Text(content)) => Ok(text_block(content).into_iter().collect()),
        Some(Tree::Array(parts)) => {
            let parts = parts.iter().enumerate().map(|(at, part)| {
                let place = format!("{place}[{at}]");
                let part = part.as_object().ok_or_else(|| UnsupportedFieldError::new(&*place, "is not an object"))?;
                block(part, &place)
            });
            parts.filter_map(Result::transpose).collect()
        }
        Some(content) if content.is_null() => Ok(Vec::new()),
        Some(_) => Err(UnsupportedFieldError::new(place, "is neither a text nor a list of parts")),
    }
}

/// Returns a block with this text, unless it is empty.
pub fn text_block(content: &RawText) -> Option<Tree> {
    (!content.is_empty()).then(|| Tree::Object(object([("type", Tree::text("text")), ("text", raw(content))])))
}

/// Converts one part. A part of a type that OpenAI does not have is one of Anthropic's blocks, and passes unchanged.
fn block(part: &Object, place: &str) -> Result<Option<Tree>, UnsupportedFieldError> {
    let mut block = match part.text("type").map(RawText::as_str) {
        Some("text") => return Ok(part.text("text").map(|_| Tree::Object(part.clone()))),
        Some("refusal") => return Ok(part.text("refusal").and_then(text_block)),
        Some("image_url") => object([("type", Tree::text("image")), ("source", image_source(part, place)?)]),
        Some("file") => file(part, place)?,
        Some("input_audio") => {
            return Err(UnsupportedFieldError::new(place, "is audio, which Anthropic does not read"));
        }
        _ => return Ok(Some(Tree::Object(part.clone()))),
    };
    copy(part, "cache_control", &mut block);
    Ok(Some(Tree::Object(block)))
}

fn image_source(part: &Object, place: &str) -> Result<Tree, UnsupportedFieldError> {
    let image = part.present("image_url");
    let url = image.and_then(Tree::as_object).and_then(|image| image.text("url"));
    let url = url.or_else(|| image.and_then(Tree::as_text)).map(unescape);
    let url = url.ok_or_else(|| UnsupportedFieldError::new(format!("{place}.image_url"), "has no URL"))?;
    if is_data_url(&url) {
        return data_source(&url, &format!("{place}.image_url"));
    }
    Ok(Tree::Object(object([("type", Tree::text("url")), ("url", text(&url))])))
}

fn file(part: &Object, place: &str) -> Result<Object, UnsupportedFieldError> {
    let file = part.present("file").and_then(Tree::as_object);
    let data = file.and_then(|file| file.text("file_data")).map(unescape);
    let place = format!("{place}.file");
    let data = data.filter(|data| is_data_url(data)).ok_or_else(|| {
        UnsupportedFieldError::new(&*place, "has no data URL in `file_data`, which Anthropic's dialect needs")
    })?;
    let source = data_source(&data, &place)?;
    let is_image = source.as_object().and_then(|source| source.text("media_type"));
    let is_image = is_image.is_some_and(|kind| kind.starts_with("image/"));
    let mut block = object([("type", Tree::text(if is_image { "image" } else { "document" })), ("source", source)]);
    if let Some(name) = file.and_then(|file| file.text("filename")).filter(|_| !is_image) {
        block.set("title", raw(name));
    }
    Ok(block)
}

fn is_data_url(url: &str) -> bool {
    url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
}

/// Returns the source of a `data:` URL (RFC 2397) whose content is base64.
fn data_source(url: &str, place: &str) -> Result<Tree, UnsupportedFieldError> {
    let refused = || UnsupportedFieldError::new(place, "is not a data URL with a media type and base64 content");
    let (head, data) = url.get(5..).and_then(|rest| rest.split_once(',')).ok_or_else(refused)?;
    let head = head.strip_suffix(";base64").ok_or_else(refused)?;
    let media_type = head.split(';').next().unwrap_or_default();
    let is_base64 = data.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte));
    if media_type.is_empty() || data.is_empty() || !is_base64 {
        return Err(refused());
    }
    let media_type = text(&media_type.to_ascii_lowercase());
    Ok(Tree::Object(object([("type", Tree::text("base64")), ("media_type", media_type), ("data", Tree::text(data))])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(content: &str) -> Result<String, String> {
        let content = Tree::parse(content).expect("JSON");
        blocks(Some(&content), "content").map(|blocks| Tree::Array(blocks).to_json()).map_err(|error| error.to_string())
    }

    #[test]
    fn each_part_becomes_a_block() {
        for (content, expected) in [
            ("null", "[]"),
            (r#""""#, "[]"),
            (r#""a\n\u00e9""#, r#"[{"type":"text","text":"a\n\u00e9"}]"#),
            (
                r#"[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}},{"type":"text","text":""}]"#,
                r#"[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}]"#,
            ),
            (r#"[{"type":"refusal","refusal":"no"}]"#, r#"[{"type":"text","text":"no"}]"#),
            (
                r#"[{"type":"image_url","image_url":{"url":"data:image\/PNG;base64,aGk=","detail":"low"},"cache_control":{"type":"ephemeral"}}]"#,
                r#"[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aGk="},"cache_control":{"type":"ephemeral"}}]"#,
            ),
            (
                r#"[{"type":"image_url","image_url":"https://a/b.png"}]"#,
                r#"[{"type":"image","source":{"type":"url","url":"https://a/b.png"}}]"#,
            ),
            (
                r#"[{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,aGk="}}]"#,
                r#"[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"aGk="},"title":"a.pdf"}]"#,
            ),
            (
                r#"[{"type":"search_result","source":"s","title":"t"}]"#,
                r#"[{"type":"search_result","source":"s","title":"t"}]"#,
            ),
        ] {
            assert_eq!(converted(content).as_deref(), Ok(expected), "{content}");
        }
    }

    #[test]
    fn part_without_a_counterpart_is_refused_by_its_place() {
        for (content, place) in [
            (r#"[{"type":"text","text":"a"},{"type":"input_audio","input_audio":{"data":"secret"}}]"#, "content[1]"),
            (r#"[{"type":"image_url","image_url":{}}]"#, "content[0].image_url"),
            (r#"[{"type":"image_url","image_url":{"url":"data:image/png,secret"}}]"#, "content[0].image_url"),
            (r#"[{"type":"image_url","image_url":{"url":"data:;base64,aGk="}}]"#, "content[0].image_url"),
            (r#"[{"type":"file","file":{"file_id":"file-secret"}}]"#, "content[0].file"),
            (r#"["secret"]"#, "content[0]"),
            ("7", "content"),
        ] {
            let refused = converted(content).expect_err(content);
            assert!(refused.starts_with(&format!("`{place}` ")) && !refused.contains("secret"), "{refused}");
        }
    }
}
