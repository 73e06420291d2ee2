//! A chart to SVG text. Text stays text: no font is read here, whoever looks at it has one.

use std::ops::Range;

use plotters::{
    coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter},
    prelude::*,
};

use super::{Chart, scale::Scale};

const SIZE: (u32, u32) = (760, 420);
/// Told apart by people who see fewer colours than others (Okabe and Ito), and on white.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

pub(super) fn svg(chart: &Chart) -> Result<String, String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        draw(chart, &area).and_then(|()| area.present()).map_err(|error| error.to_string())?;
    }
    Ok(text)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type DrawingError = DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>;

fn draw(chart: &Chart, area: &Area<'_>) -> Result<(), DrawingError> {
    area.fill(&WHITE)?;
    let points = || chart.lines.iter().flat_map(|line| line.points.iter());
    let x = Scale::over(chart.x.kind, points().map(|(x, _)| *x));
    let y = Scale::over(chart.y.kind, points().map(|(_, y)| *y));
    let mut context = ChartBuilder::on(area)
        .caption(&chart.title, ("sans-serif", 22))
        .margin(12)
        .x_label_area_size(50)
        .y_label_area_size(70)
        .build_cartesian_2d(x.clone(), y.clone())?;
    context
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .label_style(("sans-serif", 16))
        .x_desc(&chart.x.label)
        .y_desc(&chart.y.label)
        .draw()?;
    for (line, colour) in chart.lines.iter().zip(COLOURS.iter().cycle()) {
        let places: Vec<(f64, f64)> =
            line.points.iter().filter_map(|(at, value)| x.place(*at).zip(y.place(*value))).collect();
        context
            .draw_series(LineSeries::new(places.iter().copied(), colour.stroke_width(2)))?
            .label(&line.name)
            .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        // Where there are many, the line says it all.
        if places.len() <= 20 {
            context.draw_series(places.iter().map(|place| Circle::new(*place, 3, colour.filled())))?;
        }
    }
    context
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 16))
        .draw()
}

/// The ticks are ours: `plotters` would put those of a logarithmic axis at places that are no numbers to read.
impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (place - self.low) / (self.high - self.low);
        from + (share * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Scale {
    fn format(place: &f64) -> String {
        place.to_string()
    }

    fn format_ext(&self, place: &f64) -> String {
        self.label(*place)
    }
}
