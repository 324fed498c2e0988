//! Usage and money: what attempts used, and what that cost.
//!
//! ```text
//!   begin ──▶ line `open`, at the reservation
//!     │
//!   settle ─▶ sums in memory ──▶ report
//!     └─────▶ line `done`, `cancelled` or `failed` ──▶ channel ──▶ task ──▶ file of the day
//! ```
//!
//! Replicas that share a server add their sums to it once a second (`redis`).
//!
//! Sums are exact also if a line is lost. At the start they are read from the files.

mod attempt;
mod charge;
mod folder;
mod ledger;
mod line;
mod price_file;
mod prices;
mod redis;
mod report;
mod sums;
mod totals;
mod writer;

pub use self::redis::{SharedSums, SumsUnavailable};
pub use attempt::{AttemptRole, AttemptSubject, OTHER};
pub use folder::LedgerError;
pub use ledger::{AttemptUsage, Ledger, OpenAttempt, OpenedLedger};
pub use line::ANONYMOUS;
pub use price_file::{LONGEST_PRICE_FILE, PriceFileError};
pub use prices::{CurrentPrices, Prices};
pub use report::{UsageDimension, UsageQuery, UsageRow};
pub use sums::{KEPT_DAYS, UsageCaller};
pub use totals::UsageTotals;
