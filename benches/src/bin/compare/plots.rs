//! The plots in docs/images: several lines each.

use std::fs;
use std::ops::Range;
use std::path::Path;

use benches::protocol::Curve;
use plotters::prelude::*;

use crate::Failed;
use crate::report::document;
use crate::table::Curves;

/// A font that every browser has, and its size.
const TEXT: (&str, i32) = ("sans-serif", 15);

struct Plot {
    curve: Curve,
    file: &'static str,
    x: &'static str,
    y: &'static str,
}

const PLOTS: [Plot; 4] = [
    Plot {
        curve: Curve::Notify,
        file: "notify.svg",
        x: "handlers",
        y: "nanoseconds a notification",
    },
    Plot {
        curve: Curve::Churn,
        file: "churn.svg",
        x: "handlers beside it",
        y: "nanoseconds to register and unregister",
    },
    Plot {
        curve: Curve::Threads,
        file: "threads.svg",
        x: "threads, on one topic of 4 handlers",
        y: "million notifications a second",
    },
    Plot {
        curve: Curve::Bytes,
        file: "bytes.svg",
        x: "handlers a topic",
        y: "bytes a topic",
    },
];

/// Draws all of them.
pub(crate) fn draw(curves: &Curves) -> Result<(), Failed> {
    let images = document("images");
    fs::create_dir_all(&images)?;
    PLOTS.iter().try_for_each(|plot| plot.draw(curves, &images))
}

/// The name of a line, and its points.
type Line<'a> = (&'a str, Vec<(f64, f64)>);

impl Plot {
    /// The medians. Zero has no place on a logarithmic axis.
    fn lines<'a>(&self, curves: &'a Curves) -> Vec<Line<'a>> {
        let of_line = |name| {
            let places = curves.places(self.curve, name).into_iter();
            let point = |at| (f64::from(at), curves.at(self.curve, name, at).median);
            (name, places.filter(|&at| at > 0).map(point).collect())
        };
        curves.lines(self.curve).into_iter().map(of_line).collect()
    }

    fn draw(&self, curves: &Curves, images: &Path) -> Result<(), Failed> {
        let lines = self.lines(curves);
        let path = images.join(self.file);
        let area = SVGBackend::new(&path, (800, 500)).into_drawing_area();
        area.fill(&WHITE)?;
        let (plane, names) = area.split_horizontally(580);
        let points = || lines.iter().flat_map(|(_, points)| points);
        let x = range(points().map(|point| point.0));
        let y = range(points().map(|point| point.1));
        let mut chart = ChartBuilder::on(&plane)
            .margin(15)
            .x_label_area_size(45)
            .y_label_area_size(70)
            .build_cartesian_2d(x.log_scale(), y.log_scale())?;
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(self.x)
            .y_desc(self.y)
            .label_style(TEXT)
            .light_line_style(TRANSPARENT)
            .x_label_formatter(&f64::to_string)
            .y_label_formatter(&f64::to_string)
            .draw()?;
        for (at, (name, points)) in lines.iter().enumerate() {
            let style = Palette99::pick(at).stroke_width(2);
            let points = points.iter().copied();
            chart.draw_series(LineSeries::new(points, style).point_size(3))?;
            let y = 40 + 25 * i32::try_from(at)?;
            names.draw(&PathElement::new([(0, y), (20, y)], style))?;
            names.draw(&Text::new(*name, (28, y - 8), TEXT))?;
        }
        area.present()?;
        Ok(())
    }
}

/// From the least to the most of them, and a bit further.
fn range(values: impl Iterator<Item = f64> + Clone) -> Range<f64> {
    let least = values.clone().fold(f64::INFINITY, f64::min);
    let most = values.fold(0.0, f64::max);
    least / 1.1..most * 1.1
}
