//! Draws the ratios to nginx as a bar chart in SVG, readable on light and dark backgrounds.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::peer::Kind;
use crate::report::{Table, shown};

const WIDTH: f64 = 860.0;
/// The x coordinate at which the bars begin.
const LEFT: f64 = 150.0;
/// The length of a bar with the ratio 1.
const UNIT: f64 = 150.0;
/// Bars of a larger ratio are cut off, and labelled with it.
const MOST: f64 = 4.0;
const LINE: f64 = 18.0;

const STYLE: &str = "<style>
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 14px }
.quiet { fill: #57606a }
.bar { fill: #8c959f }
.ours { fill: #0969da }
line { stroke: #57606a; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .quiet { fill: #9198a1 }
  .bar { fill: #656c76 }
  .ours { fill: #4493f8 }
  line { stroke: #9198a1 }
}
</style>";

pub fn write(tables: &[Table]) -> io::Result<PathBuf> {
    let (mut body, mut y) = (String::new(), 46.0);
    for table in tables {
        for (column, figure) in table.columns().iter().enumerate() {
            let rows: Vec<_> = table.rows().filter_map(|row| Some((row, table.ratio(row, column)?))).collect();
            if !figure.is_compared || rows.is_empty() {
                continue;
            }
            let better = if figure.name.ends_with("/s") { " (more is better)" } else { "" };
            _ = writeln!(
                body,
                "<text x=\"12\" y=\"{:.0}\" class=\"title\">{}: {}{better}</text>",
                y + 8.0,
                table.name,
                figure.name
            );
            y += LINE;
            let top = y;
            for (row, ratio) in rows {
                let length = ratio.min(MOST) * UNIT;
                let class = if row.kind == Kind::Tokenrill { "ours" } else { "bar" };
                let more = if ratio > MOST { " →" } else { "" };
                let said = format!("{}{more}  ({})", shown(Some(ratio)), shown(table.median(row, column)));
                _ = writeln!(
                    body,
                    "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\
                     <rect x=\"{LEFT}\" y=\"{y:.0}\" width=\"{length:.1}\" height=\"13\" rx=\"2\" class=\"{class}\"/>\
                     <text x=\"{:.0}\" y=\"{:.0}\" class=\"quiet\">{said}</text>",
                    LEFT - 8.0,
                    y + 11.0,
                    row.name(),
                    LEFT + length + 6.0,
                    y + 11.0,
                );
                y += LINE;
            }
            let x = LEFT + UNIT;
            _ = writeln!(body, "<line x1=\"{x}\" y1=\"{:.0}\" x2=\"{x}\" y2=\"{:.0}\"/>", top - 3.0, y - 2.0);
            y += 14.0;
        }
    }
    let title = "Relaying, as a ratio to nginx in the same round (and the figure itself)";
    let picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y:.0}\" width=\"{WIDTH}\" role=\"img\">\
         <title>{title}</title>\n{STYLE}\n<text x=\"12\" y=\"24\" class=\"title\">{title}</text>\n{body}</svg>\n"
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/relay.svg");
    fs::write(&path, picture)?;
    Ok(path)
}
