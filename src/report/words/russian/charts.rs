//! What stands in the charts, in Russian.

use super::super::ChartWords;
use super::oblique;
use crate::domain::{Cell, LatencyMeasure};

pub(super) const CHARTS: ChartWords = ChartWords {
    batch_axis: "размер пакета, запросы",
    workers_axis: "workers",
    rate_unit: "токены/с",
    row_title: |workers| format!("{workers} workers"),
    total_time: "Общее время, с",
    time_per_request: "Среднее время на запрос, с",
    token_rate: "Скорость, токены/с",
    token_sum: "Сумма токенов",
    median_line: "линия: медиана измерений",
    spread_band: "полоса: квартили; усы: интервал 95 % для медианы",
    shared_point: "пустая точка: измерено при меньшем числе workers, та же работа",
    best_of_row: |rate, batch| format!("лучшая: {rate} при пакете {batch}"),
    no_figures: "годных измерений пока нет",
    heat_map_title: "Скорость по workers и размеру пакета, токены/с",
    median_cells: "медиана измерений",
    shared_cells: "= одно измерение на все ряды блока: та же работа",
    best_cell: "в рамке: лучшая ячейка",
    best_of_each_row: "жирным: лучшая в своем ряду",
    heat_map_alt: |best| {
        let grid = "Тепловая карта скорости по workers и размеру пакета";
        best.map_or_else(
            || format!("{grid}; годных измерений пока нет"),
            |(cell, rate)| {
                let Cell { workers, batch } = cell;
                format!("{grid}; лучшая ячейка: workers {workers}, пакет {batch}, {rate} токенов/с")
            },
        )
    },
    rows_title: "Скорость всех рядов, токены/с",
    rows_note: "жирным: ряд лучшей ячейки, она обведена",
    rows_alt: |rows| format!("Скорость в зависимости от размера пакета, по линии на каждый ряд; рядов: {rows}"),
    row_label: |workers| format!("{workers} workers"),
    scale_not_from_zero: "шкала начинается не с нуля",
    tied_cells: "тонко: возможно, не хуже, в пределах 1 %",
    latency_map_title: "Время до первого токена (p95) по workers и пакету, с",
    latency_map_alt: "Тепловая карта времени до первого токена по workers и размеру пакета, p95",
    brighter_is_better: "чем светлее, тем лучше",
    log_scale: "обе оси логарифмические",
    seconds_unit: "с",
    parallelism_title: "Запросы одновременно: запрошено и на деле",
    parallelism_note: "точка: слоты на деле с интервалом 95 %; пустая точка: не меньше стольких",
    as_asked: "как запрошено",
    requested_axis: "workers: сколько запросов одновременно запрошено",
    observed_axis: "наблюдалось одновременно",
    step_title: |fixed, per_stream| format!("Время одного шага: {fixed} мс + {per_stream} мс · c"),
    step_note: "точка: ячейка; линия: подгонка; за шаг каждый из c ответов получает по токену",
    step_axis: "c: сколько ответов пишется одновременно",
    step_unit: "мс на шаг",
    step_misfits: "обведены: ячейки, которые не подходят",
    trend_title: |best| format!("Скорость лучшей ячейки, {best}, во времени, токены/с"),
    trend_note: "линия: медиана каждой эпохи; с номером: изменение окружения, см. таблицу",
    trend_buckets: |samples| format!("точка: медиана {}", oblique(samples as u64, "измерения", "измерений")),
    latency_title: |best| format!("Задержки в лучшей ячейке, {best}: доля значений не больше данного времени"),
    latency_note: "по новейшим измерениям; ось времени логарифмическая, секунды",
    latency_measure: |measure| match measure {
        LatencyMeasure::TimeToFirstToken => "Время до первого токена, с",
        LatencyMeasure::InterTokenLatency => "Между двумя токенами, с",
        LatencyMeasure::TimePerOutputToken => "Время на токен ответа, с",
        LatencyMeasure::RequestDuration => "Весь запрос, с",
    },
    latency_before: |epoch, p50, p95| format!("тогда, эпоха {epoch}: p50 {p50}, p95 {p95}"),
    latency_since: |epoch, p50, p95| format!("теперь, эпоха {epoch}: p50 {p50}, p95 {p95}"),
};
