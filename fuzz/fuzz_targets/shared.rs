//! The checks of the tests, for the fuzz targets.

#[path = "../../tests/it/upstream_streams/checks.rs"]
pub mod checks;
#[path = "../../tests/it/upstream_streams/reference.rs"]
mod reference;
#[path = "../../tests/it/upstream_streams/wires.rs"]
mod wires;
