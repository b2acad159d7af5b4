//! A table of C-indices as text for a terminal, Markdown, LaTeX and CSV.

use super::table::{Mark, StudyCell, StudyTable};
use crate::table::aligned_left;

/// Follows a number that lacks folds or seeds of the plan.
const PARTIAL: &str = "\u{2020}";

impl StudyTable {
    /// Aligned columns, `¹` after the best and `²` after the second best of each.
    #[must_use]
    pub fn to_text(&self) -> String {
        let grouped = self.groups.len() > 1;
        let mut lines = vec![self.heading_cells()];
        for group in &self.groups {
            if grouped {
                lines.push(vec![group.heading.clone()]);
            }
            for row in &group.rows {
                let label = if grouped { format!("  {}", row.label) } else { row.label.clone() };
                let cells = row.cells.iter().map(|cell| format!("{}{}", cell.text(), suffix(cell)));
                lines.push([label].into_iter().chain(cells).collect());
            }
        }
        let mut legend = vec!["\u{b9} best of its column, \u{b2} second best".to_owned()];
        if self.has_partial_cells() {
            legend.push(format!("{PARTIAL} not all folds and seeds are there; not compared"));
        }
        format!("{}\n\n{}\n{}\n", self.caption, aligned_left(&lines), legend.join("\n"))
    }

    /// A Markdown table, the best bold and the second best underlined.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let plain = |text: &str| text.replace('|', "\\|");
        let mut text = format!("{}\n\n", self.caption);
        text += &line(&self.heading_cells().iter().map(|cell| plain(cell)).collect::<Vec<_>>());
        text += &format!("|---|{}\n", "---:|".repeat(self.columns.len()));
        for group in &self.groups {
            if self.groups.len() > 1 {
                let mut cells = vec![format!("*{}*", plain(&group.heading))];
                cells.resize(self.columns.len() + 1, String::new());
                text += &line(&cells);
            }
            for row in &group.rows {
                let cells = row.cells.iter().map(|cell| match cell.mark {
                    Mark::Best => format!("**{}**", cell.text()),
                    Mark::Second => format!("<u>{}</u>", cell.text()),
                    Mark::None => format!("{}{}", cell.text(), suffix(cell)),
                });
                text += &line(&[plain(&row.label)].into_iter().chain(cells).collect::<Vec<_>>());
            }
        }
        text += "\n**Best** and <u>second best</u> of each column.";
        if self.has_partial_cells() {
            text += &format!(" {PARTIAL}: not all folds and seeds are there; not compared.");
        }
        text + "\n"
    }

    /// A LaTeX `table` with the rules of `booktabs`, the best bold and the second best underlined.
    #[must_use]
    pub fn to_latex(&self) -> String {
        let line = |cells: Vec<String>| format!("{} \\\\\n", cells.join(" & "));
        let mut text = String::from("% \\usepackage{booktabs}\n\\begin{table}\n\\centering\n");
        text += &format!("\\caption{{{}}}\n", latex(&self.caption));
        text += &format!("\\begin{{tabular}}{{l{}}}\n\\toprule\n", "c".repeat(self.columns.len()));
        text += &line(self.heading_cells().iter().map(|cell| latex(cell)).collect());
        for group in &self.groups {
            text += "\\midrule\n";
            if self.groups.len() > 1 {
                let n = self.columns.len() + 1;
                text +=
                    &line(vec![format!("\\multicolumn{{{n}}}{{l}}{{\\emph{{{}}}}}", latex(&group.heading))]);
            }
            for row in &group.rows {
                let cells = row.cells.iter().map(|cell| match (cell.mark, cell.mean()) {
                    (_, None) => "--".to_owned(),
                    (Mark::Best, _) => format!("\\textbf{{{}}}", cell.text()),
                    (Mark::Second, _) => format!("\\underline{{{}}}", cell.text()),
                    (Mark::None, _) if cell.is_complete => cell.text(),
                    (Mark::None, _) => format!("{}$^\\dagger$", cell.text()),
                });
                text += &line([latex(&row.label)].into_iter().chain(cells).collect());
            }
        }
        text + "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    }

    /// A line per cell: group, row, column, mean, deviation, `best`, `second` or nothing, and whether all folds are in it.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut text = format!(
            "group,{},cohort,c_index_mean,c_index_sd,mark,complete\n",
            csv(&self.corner.to_lowercase())
        );
        for group in &self.groups {
            for row in &group.rows {
                for (column, cell) in self.columns.iter().zip(&row.cells) {
                    let mark = match cell.mark {
                        Mark::Best => "best",
                        Mark::Second => "second",
                        Mark::None => "",
                    };
                    let [mean, sd] = [cell.mean(), cell.sd()].map(Option::unwrap_or_default);
                    let names = [&group.heading, &row.label, column].map(|name| csv(name)).join(",");
                    text += &format!("{names},{mean},{sd},{mark},{}\n", cell.is_complete);
                }
            }
        }
        text
    }

    fn heading_cells(&self) -> Vec<String> {
        std::iter::once(&self.corner).chain(&self.columns).cloned().collect()
    }
}

/// What follows a cell in plain text.
fn suffix(cell: &StudyCell) -> &'static str {
    match cell.mark {
        Mark::Best => "\u{b9}",
        Mark::Second => "\u{b2}",
        Mark::None if !cell.is_complete && cell.mean().is_some() => PARTIAL,
        Mark::None => "",
    }
}

/// Text with the characters that LaTeX reads otherwise written out.
fn latex(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '\u{d7}' => out.push_str("$\\times$"),
            _ => out.push(c),
        }
    }
    out
}

/// A CSV field.
fn csv(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{StudyRow, TableGroup};
    use super::*;

    fn table() -> StudyTable {
        let row = |label: &str, mean: f64, is_complete: bool| {
            let mut cell = StudyCell::of_numbers(mean, Some(0.02));
            cell.is_complete = is_complete;
            StudyRow { label: label.to_owned(), cells: vec![cell] }
        };
        let group = |heading: &str, rows: Vec<StudyRow>| TableGroup { heading: heading.to_owned(), rows };
        StudyTable {
            caption: "C-index & spread.".to_owned(),
            corner: "Method".to_owned(),
            columns: vec!["GB&LGG".to_owned()],
            groups: vec![
                group("Single scale", vec![row("AMIL", 0.759, true), row("my_model, 2", 0.8, false)]),
                group("Ours", vec![row("CrossFusion", 0.797, true)]),
            ],
        }
        .with_marks()
    }

    #[test]
    fn text_lines_up_and_says_what_its_marks_mean() {
        let expected = "C-index & spread.\n\n\
                        Method           GB&LGG\n\
                        Single scale\n  \
                        AMIL           0.759 (0.020)\u{b2}\n  \
                        my_model, 2    0.800 (0.020)\u{2020}\n\
                        Ours\n  \
                        CrossFusion    0.797 (0.020)\u{b9}\n\n\
                        \u{b9} best of its column, \u{b2} second best\n\
                        \u{2020} not all folds and seeds are there; not compared\n";
        assert_eq!(table().to_text(), expected);
    }

    #[test]
    fn markdown_has_the_paper_s_bold_and_underline() {
        let text = table().to_markdown();
        assert!(text.contains("| Method | GB&LGG |\n|---|---:|\n| *Single scale* |  |\n"), "{text}");
        assert!(text.contains("| AMIL | <u>0.759 (0.020)</u> |\n"), "{text}");
        assert!(text.contains("| CrossFusion | **0.797 (0.020)** |\n"), "{text}");
    }

    #[test]
    fn latex_escapes_what_it_would_read_otherwise() {
        let text = table().to_latex();
        assert!(text.contains("\\caption{C-index \\& spread.}"), "{text}");
        assert!(
            text.contains(
                "Method & GB\\&LGG \\\\\n\\midrule\n\\multicolumn{2}{l}{\\emph{Single scale}} \\\\\n"
            ),
            "{text}"
        );
        assert!(text.contains("my\\_model, 2 & 0.800 (0.020)$^\\dagger$ \\\\\n"), "{text}");
        assert!(text.contains("CrossFusion & \\textbf{0.797 (0.020)} \\\\\n\\bottomrule"), "{text}");
    }

    #[test]
    fn csv_has_a_line_per_cell() {
        let expected = "group,method,cohort,c_index_mean,c_index_sd,mark,complete\n\
                        Single scale,AMIL,GB&LGG,0.759,0.020,second,true\n\
                        Single scale,\"my_model, 2\",GB&LGG,0.800,0.020,,false\n\
                        Ours,CrossFusion,GB&LGG,0.797,0.020,best,true\n";
        assert_eq!(table().to_csv(), expected);
    }
}
