//! The ids of responses and their items, which are functions of the generation's id.

use std::fmt;

use crate::domain::GenerationId;

/// The length of a generation's id without its prefix.
const ID_LENGTH: usize = 22;
/// The prefixes of the items of an answer.
const ITEM_PREFIXES: [&str; 3] = ["msg_", "fc_", "rs_"];

/// Returns the id of a generation's response.
pub fn response_id(generation: GenerationId) -> String {
    format!("resp_{}", generation.bare())
}

/// The id of an item of an answer, or of a request.
#[derive(Debug, Clone, Copy)]
pub struct ItemId {
    pub prefix: &'static str,
    pub generation: GenerationId,
    pub index: usize,
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}_{}", self.prefix, self.generation.bare(), self.index)
    }
}

/// Returns the generation of a response.
pub fn generation_of_response(id: &str) -> Option<GenerationId> {
    parse(id.strip_prefix("resp_")?)
}

/// Returns the generation of an item of an answer.
pub fn generation_of_item(id: &str) -> Option<GenerationId> {
    let rest = ITEM_PREFIXES.iter().find_map(|prefix| id.strip_prefix(prefix))?;
    let (generation, index) = rest.split_at_checked(ID_LENGTH)?;
    index.strip_prefix('_').filter(|index| !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit()))?;
    parse(generation)
}

fn parse(bare: &str) -> Option<GenerationId> {
    format!("gen_{bare}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_hold_the_id_of_their_generation() {
        for generation in [GenerationId::random(), "gen_A_A_AAAAAAAAAAAAAAAAAA".parse().expect("an id")] {
            assert_eq!(generation_of_response(&response_id(generation)), Some(generation));
            for prefix in ["msg", "fc", "rs"] {
                assert_eq!(generation_of_item(&ItemId { prefix, generation, index: 12 }.to_string()), Some(generation));
            }
        }
        for id in ["", "resp_", "resp_1", "msg_AAAAAAAAAAAAAAAAAAAAAA", "msg_AAAAAAAAAAAAAAAAAAAAAA_x", "\u{fc}"] {
            assert_eq!((generation_of_response(id), generation_of_item(id)), (None, None), "{id}");
        }
    }
}
