//! Usage and money: what attempts used, and what that cost.

mod charge;
mod price_file;
mod prices;

pub use price_file::{LONGEST_PRICE_FILE, PriceFileError};
pub use prices::Prices;
