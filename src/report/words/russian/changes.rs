//! The summary, what a step costs, and what changed, in Russian.

use super::super::{ChangeWords, StepWords, SummaryWords, Sureness};
use super::{counted, form, oblique};
use crate::domain::{Cause, Cell, Direction, Measure};

pub(super) const SUMMARY: SummaryWords = SummaryWords {
    best: |Cell { workers, batch }, rate| {
        let requests = counted(batch, "запрос", "запроса", "запросов");
        format!(
            "**Лучшая настройка: workers {workers}, пакеты по {batch}**, то есть {requests} вместе, из них в работе сразу \
             {}. Это быстрее всего: {rate} токенов/с в сумме.",
            workers.min(batch)
        )
    },
    frugal: |Cell { workers, batch }, rate| {
        format!(
            "**Экономнее:** workers {workers}, пакеты по {batch}; возможно, не медленнее, в пределах 1 %: {rate} токенов/с."
        )
    },
    no_frugal: "**Экономнее:** ни одна настройка с меньшим числом workers, или с тем же и меньшим пакетом, не работает так же быстро.",
    sureness,
    slots: |seen, reported| {
        let reported = reported.map_or_else(
            || "сколько он может, он не сообщает".to_owned(),
            |slots| format!("сам он сообщает, что может {slots}"),
        );
        match seen {
            Some(seen) => format!("**Запросов одновременно:** сервер работал самое большее над {seen}; {reported}."),
            None => {
                format!("**Запросов одновременно:** над сколькими сервер работает, увидеть не удалось; {reported}.")
            }
        }
    },
    slots_queueing: "Если workers больше, лишние только ждут в его очереди.",
    slots_not_granted: |rows| format!("Не то число слотов, что запрошено, работало в рядах: {rows}."),
    no_baseline: "**Стало ли медленнее?** Сравнить не с чем: нет более ранней эпохи с той же нагрузкой, тремя полными \
                  циклами и без ухудшения, которое никто не принял.",
    too_few_cycles: "**Стало ли медленнее?** Пока рано судить: нужны два цикла и ячейки, которые измерялись и раньше.",
    unchanged: |baseline, change, interval| {
        format!(
            "**Стало ли медленнее? Нет.** Скорость, насколько можно судить, та же, что {baseline}: {change} (интервал 95 % \
             {interval})."
        )
    },
    changed: |direction, baseline, size, interval| {
        let (answer, change) = match direction {
            Direction::Regression => ("Да", "медленнее"),
            Direction::Improvement => ("Нет, быстрее", "быстрее"),
        };
        format!("**Стало ли медленнее? {answer}: на {size} {change}** (интервал 95 % {interval}), чем {baseline}.")
    },
    baseline: |epoch, until| format!("в эпохе {epoch}, которая закончилась {until}"),
    since: |time, changes| {
        format!("**С каких пор:** с {time}; тогда изменилось вот что, **вероятная причина**: {changes}.")
    },
    since_without_changes: |time| {
        format!(
            "**С каких пор:** с {time}; из того, что известно о сервере, модели и оборудовании, ничто не изменилось, \
             и причина неизвестна."
        )
    },
    within: |direction| match direction {
        Direction::Regression => "**Стало ли медленнее? Да.**",
        Direction::Improvement => "**Стало ли медленнее? Нет, быстрее.**",
    },
    found: |time, change, cause| {
        format!("**С каких пор:** с {time} скорость изменилась на {change}; **причина**: {cause}.")
    },
    latency_worse: |measure, change| {
        let measure = match measure {
            Measure::TokensPerSecond => "скорость",
            Measure::TimeToFirstToken => "время до первого токена",
            Measure::InterTokenLatency => "время между токенами",
        };
        format!("Но {measure} стало больше: {change}.")
    },
};

fn sureness(sureness: &Sureness) -> String {
    let times = oblique(sureness.fewest as u64, "раза", "раз");
    let measured = format!("каждая настройка измерена не менее {times}");
    let interval =
        sureness.interval.as_ref().map(|interval| format!("; скорость {interval} токенов/с (интервал 95 %)"));
    let interval = interval.unwrap_or_default();
    let others = match sureness.tied {
        0 => "Другой такой же быстрой настройки нет".to_owned(),
        tied => {
            let others = form(tied as u128, "другая настройка", "другие настройки", "других настроек");
            format!("Возможно, не медленнее, в пределах 1 %, еще {tied} {others}")
        }
    };
    let verdict = match (sureness.is_enough, sureness.tied) {
        (false, _) => {
            let few = only(sureness.fewest);
            return format!(
                "**Насколько это надежно: пока нет.** Некоторые настройки измерены всего {few}, нужно три{interval}."
            );
        }
        (true, _) if sureness.is_rough => "только приблизительно, скорости сильно колеблются",
        (true, 0) => "надежно",
        (true, _) => "скорость надежна, но выбор почти равный",
    };
    format!("**Насколько это надежно: {verdict}.** {others}; {measured}{interval}.")
}

/// So few times, in the nominative.
fn only(times: usize) -> String {
    format!("{times} {}", form(times as u128, "раз", "раза", "раз"))
}

pub(super) const STEP: StepWords = StepWords {
    heading: "Сколько стоит один шаг сервера",
    formula: |fixed, per_stream| {
        format!(
            "Сервер пишет все свои ответы по одному токену за шаг. Шаг для c ответов длится **a + b·c**: a = {fixed} мс, \
             сколько бы их ни было, и еще b = {per_stream} мс на каждый."
        )
    },
    no_fixed: "Здесь a не отличить от нуля: чем больше ответов сразу, тем во столько же раз дольше шаг, и быстрее не станет.",
    limit: |rate, half| {
        format!(
            "Поэтому, сколько бы ответов ни писалось сразу, больше 1/b = {rate} токенов/с не получить, а половину этого дают \
             a/b = {half} ответов сразу."
        )
    },
    fits: |error, cells| format!("Обычное отклонение {}: {error}.", oblique(cells as u64, "ячейки", "ячеек")),
    misfits: |cells| {
        format!(
            "Не подходят ячейки (измеренное время / по формуле): {cells}. Быстрее или медленнее их сделало что-то другое."
        )
    },
    too_few: "Измерено слишком мало ячеек, чтобы судить.",
};

pub(super) const CHANGES: ChangeWords = ChangeWords {
    heading: "Что изменилось",
    compared: |baseline| format!("По сравнению с тем, что было {baseline}. Меньше нуля – меньше, чем тогда."),
    no_baseline: "Сравнить не с чем: нет более ранней эпохи с той же нагрузкой, тремя полными циклами и без ухудшения, \
                  которое никто не принял.",
    pinned: "Эту эпоху выбрал пользователь.",
    columns: ["Величина", "Циклов тогда", "Циклов теперь", "Изменение", "Интервал 95 %", "Вывод"],
    measure: |measure| match measure {
        Measure::TokensPerSecond => "скорость",
        Measure::TimeToFirstToken => "TTFT p50",
        Measure::InterTokenLatency => "ITL p50",
    },
    verdict: |direction| match direction {
        Some(Direction::Regression) => "**хуже**",
        Some(Direction::Improvement) => "**лучше**",
        None => "изменения не видно",
    },
    too_few: "слишком мало циклов или ячеек",
    cells: |cells| format!("Ячейки, скорость которых изменилась, сначала самые большие изменения: {cells}."),
    environment: "Изменения окружения",
    environment_columns: ["Признак", "Тогда", "Теперь"],
    no_changes: "Из того, что известно о сервере, модели и оборудовании, ничто не изменилось.",
    latencies: "Задержки тогда и теперь",
    found: "Найденные изменения",
    found_columns: ["С каких пор", "Величина", "Изменение", "Интервал 95 %", "Причина", "Примечание"],
    cause: |cause, components| match cause {
        Cause::EnvironmentChange => format!("тогда изменилось окружение: {components}"),
        Cause::UnexplainedStep => "неизвестна; из того, за чем мы следим, тогда ничто не менялось".to_owned(),
        Cause::SlowDecay => "неизвестна; изменение было медленным".to_owned(),
    },
    returned: |time| format!("провал, прошел {time}"),
    trend: "Во времени",
    trend_columns: ["№", "С каких пор", "Эпоха", "Медиана (токены/с)", "Что изменилось"],
};
