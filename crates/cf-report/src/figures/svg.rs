//! Writes SVG: elements with escaped text, and colours that a page can restate for a dark background.
//!
//! Every colour is a presentation attribute, so that the file alone is right on paper, and a class, so that the
//! style sheet of a page overrides it: CSS wins over presentation attributes.

use std::fmt::Write as _;

/// System fonts first; the last named family is the one that is bundled for PNG.
const FONT_FAMILY: &str =
    "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif";

/// A colour by its purpose. The six series colours are those of Okabe and Ito (2008), which all common forms of
/// colour vision tell apart; purple is darker, so that thin lines of it show on white.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Text that is read first.
    Text,
    /// Text that is read second.
    Muted,
    /// Axes and frames.
    Axis,
    /// Lines behind data.
    Grid,
    /// What is drawn on.
    Paper,
    /// First series.
    Blue,
    /// Second series.
    Vermillion,
    /// Third series.
    Green,
    /// Fourth series.
    Purple,
    /// Fifth series.
    Orange,
    /// Sixth series.
    Sky,
}

impl Ink {
    pub(crate) const ALL: [Self; 11] = [
        Self::Text,
        Self::Muted,
        Self::Axis,
        Self::Grid,
        Self::Paper,
        Self::Blue,
        Self::Vermillion,
        Self::Green,
        Self::Purple,
        Self::Orange,
        Self::Sky,
    ];

    /// Class name without its prefix.
    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Muted => "muted",
            Self::Axis => "axis",
            Self::Grid => "grid",
            Self::Paper => "paper",
            Self::Blue => "blue",
            Self::Vermillion => "vermillion",
            Self::Green => "green",
            Self::Purple => "purple",
            Self::Orange => "orange",
            Self::Sky => "sky",
        }
    }

    /// Colour on white.
    pub(crate) fn light(self) -> &'static str {
        match self {
            Self::Text => "#1a1d21",
            Self::Muted => "#5b636d",
            Self::Axis => "#80878f",
            Self::Grid => "#e4e7ea",
            Self::Paper => "#ffffff",
            Self::Blue => "#0072b2",
            Self::Vermillion => "#d55e00",
            Self::Green => "#009e73",
            Self::Purple => "#b8578f",
            Self::Orange => "#e69f00",
            Self::Sky => "#56b4e9",
        }
    }

    /// Colour on the dark page: the same hues, lighter.
    pub(crate) fn dark(self) -> &'static str {
        match self {
            Self::Text => "#e6e8eb",
            Self::Muted => "#a3abb5",
            Self::Axis => "#78818c",
            Self::Grid => "#2b3138",
            Self::Paper => "#15181c",
            Self::Blue => "#4ba3dc",
            Self::Vermillion => "#f2813b",
            Self::Green => "#2fbf94",
            Self::Purple => "#dd9cc2",
            Self::Orange => "#f0b63f",
            Self::Sky => "#9ad3f5",
        }
    }

    /// `fill="..." class="f-..."`, to be put into an element.
    pub(crate) fn fill(self) -> String {
        format!(r#"fill="{}" class="f-{}""#, self.light(), self.name())
    }

    /// `fill="none" stroke="..." class="s-..."`, to be put into an element.
    pub(crate) fn stroke(self) -> String {
        format!(r#"fill="none" stroke="{}" class="s-{}""#, self.light(), self.name())
    }
}

/// CSS rules that restate every figure colour for a dark page.
pub(crate) fn dark_rules() -> String {
    let mut css = String::new();
    for ink in Ink::ALL {
        let (name, colour) = (ink.name(), ink.dark());
        // Writing to a String cannot fail.
        let _ = writeln!(css, "  svg .f-{name} {{ fill: {colour} }} svg .s-{name} {{ stroke: {colour} }}");
    }
    css
}

/// Attribute that tells the lines of a figure apart without colour: whole, dashed, dotted and so on, by position.
pub(crate) fn dash(position: usize) -> &'static str {
    const DASHES: [&str; 5] = [
        "",
        r#" stroke-dasharray="7 3""#,
        r#" stroke-dasharray="2 2.5""#,
        r#" stroke-dasharray="10 3 2 3""#,
        r#" stroke-dasharray="4 6""#,
    ];
    DASHES.get(position % DASHES.len()).copied().unwrap_or_default()
}

/// Which end of a text its position means.
#[derive(Debug, Clone, Copy)]
pub enum Anchor {
    /// Its left end.
    Start,
    /// Its middle.
    Middle,
    /// Its right end.
    End,
}

/// An SVG document that grows by elements. Positions and lengths are user units from the top left corner.
#[derive(Debug)]
pub struct Svg {
    body: String,
    head: String,
}

impl Svg {
    /// An empty document of `width` x `height` user units. `name` makes the ids unique within a page, `title` and
    /// `description` are what a screen reader says.
    #[must_use]
    pub fn new(name: &str, width: f64, height: f64, title: &str, description: &str) -> Self {
        let head = format!(
            concat!(
                r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" "#,
                r#"role="img" aria-labelledby="{name}-title {name}-desc" font-family="{font}" font-size="12" "#,
                r#"style="font-variant-numeric: tabular-nums">"#,
                "\n<title id=\"{name}-title\">{title}</title>\n<desc id=\"{name}-desc\">{desc}</desc>\n",
                r#"<rect width="{w}" height="{h}" {paper}/>"#,
                "\n",
            ),
            w = number(width),
            h = number(height),
            name = name,
            font = FONT_FAMILY,
            title = escaped(title),
            desc = escaped(description),
            paper = Ink::Paper.fill(),
        );
        Self { body: String::new(), head }
    }

    /// Text of 12 units.
    pub fn text(&mut self, x: f64, y: f64, anchor: Anchor, ink: Ink, text: &str) {
        self.text_with(x, y, anchor, ink, "", text);
    }

    /// Text with further attributes, such as a `font-size` or a `transform`.
    pub fn text_with(&mut self, x: f64, y: f64, anchor: Anchor, ink: Ink, attributes: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (x, y, fill, text) = (number(x), number(y), ink.fill(), escaped(text));
        let space = if attributes.is_empty() { "" } else { " " };
        self.push(&format!(
            r#"<text x="{x}" y="{y}" text-anchor="{anchor}" {fill}{space}{attributes}>{text}</text>"#
        ));
    }

    /// A stroked line; `attributes` such as a `stroke-width` are put into its element.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), ink: Ink, attributes: &str) {
        let (x1, y1, x2, y2) = (number(from.0), number(from.1), number(to.0), number(to.1));
        let stroke = ink.stroke();
        self.push(&format!(r#"<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" {stroke} {attributes}/>"#));
    }

    /// A stroked path, `d` being path data.
    pub fn path(&mut self, d: &str, ink: Ink, attributes: &str) {
        self.push(&format!(r#"<path d="{d}" {} {attributes}/>"#, ink.stroke()));
    }

    /// A filled path, `d` being path data.
    pub fn area(&mut self, d: &str, ink: Ink, attributes: &str) {
        self.push(&format!(r#"<path d="{d}" {} {attributes}/>"#, ink.fill()));
    }

    fn push(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }

    /// The whole document.
    #[must_use]
    pub fn finish(self) -> String {
        format!("{}{}</svg>\n", self.head, self.body)
    }
}

/// A coordinate with at most two decimals, none of them trailing zeros.
pub(crate) fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Path of a straight polyline through `points`; empty for no point.
pub(crate) fn polyline(points: &[(f64, f64)]) -> String {
    let mut d = String::new();
    for (i, &(x, y)) in points.iter().enumerate() {
        d.push_str(if i == 0 { "M" } else { "L" });
        d.push_str(&number(x));
        d.push(' ');
        d.push_str(&number(y));
    }
    d
}

/// Path of a circle of radius `r`, so that marks of one series can share an element.
pub(crate) fn circle((x, y): (f64, f64), r: f64) -> String {
    let (left, y, r, d) = (number(x - r), number(y), number(r), number(2.0 * r));
    format!("M{left} {y}a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0z")
}

/// Path of a square standing on its corner, `r` from centre to corner.
pub(crate) fn diamond((x, y): (f64, f64), r: f64) -> String {
    let (top, r) = (number(y - r), number(r));
    format!("M{} {top}l{r} {r}l-{r} {r}l-{r} -{r}z", number(x))
}

/// Path of a square with sides of `2 r`.
pub(crate) fn square((x, y): (f64, f64), r: f64) -> String {
    let (side, back) = (number(2.0 * r), number(-2.0 * r));
    format!("M{} {}h{side}v{side}h{back}z", number(x - r), number(y - r))
}

/// Path of a triangle that points up, about as large as a circle of radius `r`.
pub(crate) fn triangle((x, y): (f64, f64), r: f64) -> String {
    let (width, height) = (1.2 * r, 2.0 * r);
    format!(
        "M{} {}l{} {}h{}z",
        number(x),
        number(y - 1.2 * r),
        number(width),
        number(height),
        number(-2.0 * width)
    )
}

/// Text in lines of at most `most` characters, broken between words.
pub(crate) fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Text for an element or a quoted attribute.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Control characters are not XML, not even as references.
            c if c.is_control() && !matches!(c, '\t' | '\n' | '\r') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(12.0), "12");
        assert_eq!(number(0.125), "0.12");
        assert_eq!(number(-0.001), "0");
        assert_eq!(number(100.5), "100.5");
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped("with a bag at every scale", 11), ["with a bag", "at every", "scale"]);
        assert_eq!(wrapped("unbreakable", 4), ["unbreakable"]);
        assert!(wrapped("", 9).is_empty());
    }

    #[test]
    fn marks_are_centred() {
        assert_eq!(square((10.0, 20.0), 3.0), "M7 17h6v6h-6z");
        assert_eq!(triangle((10.0, 20.0), 5.0), "M10 14l6 10h-12z");
    }

    #[test]
    fn text_cannot_leave_its_element() {
        let mut svg = Svg::new("t", 10.0, 10.0, "a < b", "\"quoted\" & \u{1}");
        svg.text(1.0, 2.0, Anchor::Start, Ink::Text, "</text><script>");
        let document = svg.finish();
        assert!(document.contains("&lt;/text&gt;&lt;script&gt;"));
        assert!(document.contains("<title id=\"t-title\">a &lt; b</title>"));
        assert!(document.contains("&quot;quoted&quot; &amp; \u{fffd}"));
        assert!(!document.contains("<script>"));
    }

    #[test]
    fn dark_rules_restate_every_colour() {
        let css = dark_rules();
        assert_eq!(css.lines().count(), Ink::ALL.len());
        assert!(css.contains("svg .s-blue { stroke: #4ba3dc }"));
    }
}
