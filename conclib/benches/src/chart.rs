//! A line chart as SVG, with a logarithmic x axis. Its background is transparent, and its colours can
//! be read on a light and on a dark page.

use std::fmt::Write as _;

/// The margins of the plot within the picture, in pixels.
const LEFT: f64 = 76.0;
const RIGHT: f64 = 676.0;
const TOP: f64 = 74.0;
const BOTTOM: f64 = 330.0;

/// The size of the picture.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 390.0;

/// Text and axes; in the middle between black and white.
const INK: &str = "#7d8590";

/// Lines, in order; each as far from white as from a dark page.
const COLOURS: [&str; 4] = ["#2f81f7", "#db6d28", "#2da44e", "#a371f7"];

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// The title.
    pub title: String,
    /// The label of the x axis.
    pub x_label: String,
    /// The label of the y axis, with its unit.
    pub y_label: String,
    /// The lines, in the order of the legend.
    pub lines: Vec<Line>,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// The name in the legend.
    pub name: String,
    /// From left to right; x is positive.
    pub points: Vec<(f64, f64)>,
}

impl Chart {
    /// The picture, as text. A chart without points has axes only.
    pub fn svg(&self) -> String {
        let scale = Scale::of(&self.lines);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             font-family=\"system-ui, sans-serif\" font-size=\"13\" fill=\"{INK}\">\n\
             <title>{title}</title>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"16\" font-weight=\"600\">{title}</text>\n",
            title = escaped(&self.title),
        );
        self.legend(&mut svg);
        scale.axes(&mut svg);
        let _ = write!(
            svg,
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{x_label}</text>\n\
             <text transform=\"translate(18 {middle}) rotate(-90)\" text-anchor=\"middle\">{y_label}</text>\n",
            x = f64::midpoint(LEFT, RIGHT),
            y = HEIGHT - 14.0,
            middle = f64::midpoint(TOP, BOTTOM),
            x_label = escaped(&self.x_label),
            y_label = escaped(&self.y_label),
        );
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            scale.line(&mut svg, line, colour);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn legend(&self, svg: &mut String) {
        let mut x = LEFT;
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.0} 47h22\" stroke=\"{colour}\" stroke-width=\"3\"/>\
                 <text x=\"{:.0}\" y=\"51\">{}</text>",
                x + 28.0,
                escaped(&line.name)
            );
            let letters = u32::try_from(line.name.chars().count()).unwrap_or(u32::MAX);
            x += 52.0 + 8.0 * f64::from(letters);
        }
    }
}

/// The scales of the plot.
struct Scale {
    /// The powers of ten that bound x.
    decades: (i32, i32),
    /// The value of a step of the y axis.
    step: f64,
    /// The number of its steps.
    steps: u32,
}

impl Scale {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "decades and steps are small whole numbers"
    )]
    fn of(lines: &[Line]) -> Self {
        let points = || lines.iter().flat_map(|line| &line.points);
        let lowest = points().map(|(x, _)| *x).fold(f64::INFINITY, f64::min);
        let highest = points().map(|(x, _)| *x).fold(0.0, f64::max);
        let top = points().map(|(_, y)| *y).fold(0.0, f64::max);
        let decades = if lowest > 0.0 && highest.is_finite() && lowest <= highest {
            (lowest.log10().floor() as i32, highest.log10().ceil() as i32)
        } else {
            (0, 1)
        };
        let step = round_step(top / 5.0);
        Self {
            decades: (decades.0, decades.1.max(decades.0 + 1)),
            step,
            steps: ((top / step).ceil() as u32).max(1),
        }
    }

    fn x(&self, value: f64) -> f64 {
        let (first, last) = (f64::from(self.decades.0), f64::from(self.decades.1));
        LEFT + (value.log10() - first) / (last - first) * (RIGHT - LEFT)
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - value / (self.step * f64::from(self.steps)) * (BOTTOM - TOP)
    }

    /// The lines across, with their values, and the decades.
    fn axes(&self, svg: &mut String) {
        for number in 0..=self.steps {
            let value = self.step * f64::from(number);
            let y = self.y(value);
            let opacity = if number == 0 { 1.0 } else { 0.3 };
            let _ = writeln!(
                svg,
                "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"{INK}\" stroke-opacity=\"{opacity}\"/>\
                 <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                y + 4.5,
                grouped(value)
            );
        }
        for decade in self.decades.0..=self.decades.1 {
            let value = 10_f64.powi(decade);
            let x = self.x(value);
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.1} {BOTTOM}v5\" stroke=\"{INK}\"/>\
                 <text x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
                BOTTOM + 20.0,
                grouped(value)
            );
        }
    }

    fn line(&self, svg: &mut String, line: &Line, colour: &str) {
        let points: Vec<_> = line
            .points
            .iter()
            .map(|(x, y)| format!("{:.1},{:.1}", self.x(*x), self.y(*y)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\" \
             stroke-linejoin=\"round\"/>",
            points.join(" ")
        );
        for ((x, y), (_, value)) in points
            .iter()
            .filter_map(|point| point.split_once(','))
            .zip(&line.points)
        {
            let _ = writeln!(
                svg,
                "<circle cx=\"{x}\" cy=\"{y}\" r=\"3.5\" fill=\"{colour}\"><title>{}: {}</title></circle>",
                escaped(&line.name),
                grouped(value.round())
            );
        }
    }
}

/// One, two or five times a power of ten, that is not less.
fn round_step(least: f64) -> f64 {
    if least <= 0.0 || !least.is_finite() {
        return 1.0;
    }
    let decade = 10_f64.powf(least.log10().floor());
    let found = [1.0, 2.0, 5.0].map(|factor| factor * decade);
    let found = found.into_iter().find(|step| *step >= least);
    found.unwrap_or(10.0 * decade)
}

/// A number with a comma between thousands.
pub fn grouped(value: f64) -> String {
    if value < 1000.0 {
        return format!("{value}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (number, digit) in digits.chars().enumerate() {
        if number > 0 && (digits.len() - number) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A text as it stands in XML.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: &[(f64, f64)]) -> String {
        let chart = Chart {
            title: "Cost & growth".to_owned(),
            x_label: "actors".to_owned(),
            y_label: "ns".to_owned(),
            lines: vec![Line {
                name: "a <b>".to_owned(),
                points: points.to_vec(),
            }],
        };
        chart.svg()
    }

    #[test]
    fn ends_of_a_line_are_ends_of_the_plot() {
        let svg = chart(&[(1.0, 0.0), (100.0, 50.0), (10_000.0, 100.0)]);
        assert!(svg.contains("points=\"76.0,330.0 376.0,202.0 676.0,74.0\""));
        assert!(svg.contains(">10,000</text>"));
        assert!(svg.contains(">100</text>"));
        assert_eq!(svg.matches("<circle").count(), 3);
    }

    #[test]
    fn text_is_escaped() {
        let svg = chart(&[(1.0, 1.0)]);
        assert!(svg.contains("Cost &amp; growth"));
        assert!(svg.contains("a &lt;b&gt;"));
    }

    #[test]
    fn no_points_are_axes_only() {
        let svg = chart(&[]);
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn steps_are_round() {
        for (least, step) in [(0.0, 1.0), (1.0, 1.0), (17.0, 20.0), (60.0, 100.0)] {
            assert!((round_step(least) - step).abs() < 1e-9, "{least}");
        }
    }
}
