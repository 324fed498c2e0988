//! The generations of chats in this process's memory.

use std::collections::HashMap;

use super::{ChatGeneration, ChatState, NamedChat};
use crate::domain::{ChatKey, ChatTurn, GenerationId, Principal, TurnKey};

/// The generation of each chat.
#[derive(Default)]
pub struct ChatIndex(HashMap<(Principal, ChatKey), IndexedChat>);

struct IndexedChat {
    named: ChatGeneration,
    /// The generation that the chat had before.
    earlier: Option<GenerationId>,
}

impl IndexedChat {
    fn is_same(&self, turn: Option<TurnKey>) -> bool {
        turn.is_some() && self.named.turn == turn && self.named.state == ChatState::Open
    }
}

impl ChatIndex {
    pub fn name(
        &mut self,
        owner: &Principal,
        ChatTurn { chat, turn }: ChatTurn,
        generation: GenerationId,
        ended: Option<GenerationId>,
    ) -> NamedChat {
        let known = self.0.get(&(owner.clone(), chat));
        let earlier = match known {
            // The call was sent again.
            Some(known) if known.named.generation == generation => known.earlier,
            Some(known) if known.is_same(turn) && Some(known.named.generation) != ended => {
                return NamedChat::Same(known.named.generation);
            }
            known => known.map(|known| known.named.generation),
        };
        let named = ChatGeneration { generation, turn, state: ChatState::Open };
        self.0.insert((owner.clone(), chat), IndexedChat { named, earlier });
        NamedChat::New { earlier }
    }

    pub fn get(&self, owner: &Principal, chat: ChatKey) -> Option<ChatGeneration> {
        self.0.get(&(owner.clone(), chat)).map(|known| known.named)
    }

    pub fn close(&mut self, owner: &Principal, chat: ChatKey, generation: GenerationId) {
        if let Some(known) = self.0.get_mut(&(owner.clone(), chat))
            && known.named.generation == generation
        {
            known.named.state = ChatState::Closed;
        }
    }

    /// Removes a chat, if it still has this generation.
    pub fn remove(&mut self, owner: &Principal, chat: ChatKey, generation: GenerationId) {
        let chat = (owner.clone(), chat);
        if self.0.get(&chat).is_some_and(|known| known.named.generation == generation) {
            self.0.remove(&chat);
        }
    }
}
