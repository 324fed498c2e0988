//! Parts of answers that the log keeps in the provider's form: sources and images.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::domain::Sequence;

/// The members of a delta that become parts.
#[derive(Deserialize)]
struct ProviderDelta {
    annotations: Option<Vec<Value>>,
    images: Option<Vec<Value>>,
}

/// Returns the parts of a delta: `source-url` for citations of pages, `file` for images. The ids of sources are functions
/// of the entry.
pub fn provider_parts(delta_json: &str, entry: Sequence) -> Vec<Value> {
    let Ok(delta) = serde_json::from_str::<ProviderDelta>(delta_json) else { return Vec::new() };
    let (annotations, images) = (delta.annotations.unwrap_or_default(), delta.images.unwrap_or_default());
    let sources = annotations.iter().enumerate().filter_map(|(at, annotation)| {
        let citation = annotation.get("url_citation").unwrap_or(annotation);
        let url = citation.get("url")?.as_str()?;
        let mut part = json!({"type": "source-url", "sourceId": format!("s{}-{at}", entry.get()), "url": url});
        if let (Some(title), Some(members)) = (citation.get("title").and_then(Value::as_str), part.as_object_mut()) {
            members.insert("title".to_owned(), title.into());
        }
        Some(part)
    });
    let files = images.iter().filter_map(|image| {
        let url = image.get("image_url")?.get("url")?.as_str()?;
        let media = url.strip_prefix("data:").and_then(|rest| rest.split([';', ',']).next());
        Some(json!({"type": "file", "url": url, "mediaType": media.filter(|media| !media.is_empty()).unwrap_or("image/png")}))
    });
    sources.chain(files).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn citations_and_images_become_parts() {
        let delta = json!({
            "annotations": [
                {"type": "url_citation", "url_citation": {"url": "https://a", "title": "A", "start_index": 0}},
                {"type": "file_citation"},
            ],
            "images": [{"type": "image_url", "image_url": {"url": "data:image/webp;base64,AA"}}],
            "audio": {},
        });
        assert_eq!(
            provider_parts(&delta.to_string(), Sequence::new(7)),
            [
                json!({"type": "source-url", "sourceId": "s7-0", "url": "https://a", "title": "A"}),
                json!({"type": "file", "url": "data:image/webp;base64,AA", "mediaType": "image/webp"}),
            ]
        );
        assert_eq!(provider_parts("{\"annotations\":null}", Sequence::new(7)), Vec::<Value>::new());
    }
}
