//! The report in Russian. Title, headings and the first columns of the tables are the legacy
//! report's own, so that its readers and scripts find everything where it was.

use super::{ConditionFacts, RunFacts, Words};
use crate::domain::{FailureKind, InvalidReason};

mod changes;
mod charts;

/// A count with its noun: 1 запрос, 2 запроса, 5 запросов, 11 запросов, 21 запрос.
fn counted(count: impl Into<u128>, one: &str, few: &str, many: &str) -> String {
    let count: u128 = count.into();
    format!("{count} {}", form(count, one, few, many))
}

/// The form that a word takes beside a count in the nominative.
fn form<'a>(count: u128, one: &'a str, few: &'a str, many: &'a str) -> &'a str {
    match (count % 10, count % 100) {
        (_, 11..=14) => many,
        (1, _) => one,
        (2..=4, _) => few,
        _ => many,
    }
}

/// A count with its noun in an oblique case, which knows one and many alone.
fn oblique(count: impl Into<u128>, one: &str, many: &str) -> String {
    counted(count, one, many, many)
}

pub(super) const RUSSIAN: Words = Words {
    title: |model| format!("Отчет о производительности для {model}"),
    about: |target, url, epoch| format!("Цель **{target}**, адрес {url}, эпоха {epoch}."),
    period: |from, to| format!("Измерено с {from} по {to}:"),
    extent: |extent| {
        let measured = form(extent.measured_cells as u128, "измерена", "измерены", "измерено");
        format!(
            "{}, {}, {}; {measured} {} из {}.",
            counted(extent.cycles, "полный цикл", "полных цикла", "полных циклов"),
            counted(extent.valid as u64, "годное измерение", "годных измерения", "годных измерений"),
            counted(extent.rejected as u64, "отклоненное", "отклоненных", "отклоненных"),
            counted(extent.measured_cells as u64, "ячейка", "ячейки", "ячеек"),
            extent.cells,
        )
    },
    written: |time, version| format!("Составлено {time} программой llmsoak {version}."),
    to_status: "Состояние",
    to_all_reports: "Все отчеты",
    no_sample_yet: "Измерений пока нет.",
    no_valid_sample_yet: |rejected| {
        let rejected = counted(rejected as u64, "измерение отклонено", "измерения отклонено", "измерений отклонено");
        format!("Годных измерений пока нет: {rejected}; причины указаны ниже.")
    },
    partly_on_cpu: |samples, least| {
        let samples = counted(samples as u64, "измерении", "измерениях", "измерениях");
        format!(
            "**Внимание:** в {samples} модель лежала на видеокарте не целиком (самое меньшее {least}): остальное считал \
             процессор."
        )
    },
    summary: changes::SUMMARY,
    conclusions: "Итоговые выводы по всем прогонам",
    optima: "Оптимальные параметры для разного количества параллельных запросов",
    optima_columns: [
        "Количество workers",
        "Оптимальный размер пакета",
        "Максимальная скорость (токены/сек)",
        "Интервал 95 % (токены/сек)",
        "Повторы",
    ],
    best_configuration: "Наилучшая конфигурация для данного оборудования",
    best_workers: |workers| format!("**Количество workers:** {workers}"),
    best_batch: |batch| format!("**Оптимальный размер пакета:** {batch}"),
    best_rate: |rate| format!("**Скорость обработки:** {rate} токенов/сек"),
    best_time_per_request: |seconds| format!("**Среднее время на запрос:** {seconds} с"),
    best_steady_rate: |rate| format!("**Установившаяся скорость:** {rate} токенов/сек"),
    best_repeats: |samples| format!("**Повторы:** {samples}"),
    nothing_to_conclude: "Пока нет ни одного годного измерения, выводы сделать нельзя.",
    whole_grid: "Вся сетка",
    details: "Детальные результаты по каждому прогону",
    row_title: |workers| {
        format!("Результаты для {}", oblique(workers, "параллельного запроса", "параллельных запросов"))
    },
    row_chart: |workers| {
        let requests = oblique(workers, "параллельного запроса", "параллельных запросов");
        format!("График производительности для {requests}")
    },
    row_table: "Таблица результатов",
    row_columns: [
        "Количество параллельных запросов",
        "Общее время (с)",
        "Среднее время на запрос (с)",
        "Токены в секунду",
        "Сумма токенов",
        "Интервал 95 % (токены/с)",
        "Установившаяся скорость (токены/с)",
        "TTFT p50 (с)",
        "TTFT p95 (с)",
        "ITL p50 (мс)",
        "ITL p95 (мс)",
        "Параллельно, среднее",
        "Параллельно, пик",
        "Измерения",
    ],
    row_note_column: "Примечание",
    best_mark: "**лучшая из всех**",
    tied_mark: "≈ лучшая",
    tied_note: "`≈ лучшая`: возможно, не хуже лучшей из всех, в пределах 1 %.",
    copy_mark: |canonical| format!("= {canonical}"),
    copy_note: |workers| {
        let workers = oblique(workers, "worker не может быть занят", "workers не могут быть заняты все сразу");
        format!(
            "`=` та же работа, что в указанной ячейке workers×пакет, которая измеряется вместо этой: \
             при таком малом пакете {workers}."
        )
    },
    unmeasured: "пока не измерено",
    only_rejected: |samples| format!("нет годных измерений, отклонено {samples}"),
    row_best_batch: |batch| format!("**Оптимальный размер пакета:** {batch}"),
    row_best_rate: |rate| format!("**Максимальная скорость обработки:** {rate} токенов в секунду"),
    row_without_best: "В этом ряду пока нет ячейки с годным измерением.",
    confidence: "Надежность результатов",
    confidence_note: "Скорость каждой измеренной ячейки по ее повторам, токены/с. Разброс – расстояние между \
                      квартилями по отношению к медиане. Интервал – для медианы; он учитывает шум всех ячеек.",
    confidence_columns: [
        "Workers",
        "Пакет",
        "Измерения",
        "Отклонено",
        "Наименьшая",
        "Нижний квартиль",
        "Медиана",
        "Верхний квартиль",
        "Наибольшая",
        "Интервал 95 %",
        "Разброс",
    ],
    fewest_repeats: |samples| format!("Наименьшее число измерений одной ячейки: {samples}."),
    few_repeats: "Пока повторов меньше трех, порядок близких ячеек остается неясным.",
    typical_spread: |percent| format!("Обычный разброс в ячейке: {percent}."),
    ties: |cells| format!("Возможно, не хуже лучшей, в пределах 1 %: {cells}."),
    no_ties: "Ни одна другая ячейка не может быть лучшей с вероятностью 5 % и больше.",
    frugal_cell: |cell| format!("Самая экономная из них: {cell}."),
    steady_disagrees: |cell, rate| {
        format!(
            "Установившаяся скорость, которую не снижает неполная последняя волна, выше всего в другой ячейке: {cell}, \
             {rate} токен/с."
        )
    },
    more_cells: |count| format!("и еще {count}"),
    parallelism: "Запрошенная и наблюдаемая параллельность",
    parallelism_note: "Наибольшие медианы в каждом ряду. Возможно – сколько запросов ряд может держать в работе: \
                       число его workers или его самый большой пакет, если он меньше.",
    slots_known: |slots| {
        let requests = oblique(slots, "запросом", "запросами");
        format!("Сервер сообщает, что работает одновременно над {requests}.")
    },
    slots_unknown: "Сервер не сообщает, над сколькими запросами он работает одновременно.",
    slots_of_each_row: "Перед каждым рядом сервер получал его число слотов, и после этого его спрашивали, сколько их.",
    parallelism_columns: [
        "Workers",
        "Возможно",
        "Слотов по словам сервера",
        "Наблюдаемое среднее",
        "Наблюдаемый пик",
        "Слотов на деле",
        "Ожидание в очереди (с)",
        "Примечание",
    ],
    queueing: "*очередь*: workers больше, чем слотов",
    not_granted: "**внимание**: не то число слотов, что запрошено",
    out_of_line: "**внимание**: не согласуется с другими рядами",
    warned_rows: |rows| {
        format!("**Внимание:** эти ряды не получили запрошенных слотов и измеряют что-то другое: {rows}.")
    },
    warned_row: |workers, reported, seen| {
        let reported = reported.map_or_else(String::new, |slots| format!(", сервер сообщает {slots}"));
        let seen = seen.map_or_else(String::new, |seen| format!(", на деле {seen}"));
        format!("**Внимание:** запрошено слотов: {workers}{reported}{seen}.")
    },
    step: changes::STEP,
    failures: "Ошибки и отклоненные измерения",
    failure_columns: ["Класс", "Запросы", "Доля", "Значение"],
    no_failures: |requests| match requests {
        0 => "Ни одного запроса не отправлено.".to_owned(),
        requests => format!("Ошибок нет: {}.", counted(requests, "запрос", "запроса", "запросов")),
    },
    failure_meaning: russian_failure,
    short_outputs: |answers| {
        let answers = counted(answers, "ответ закончился", "ответа закончились", "ответов закончились");
        format!("{answers} раньше запрошенной длины.")
    },
    rejections: "Отклоненные измерения",
    rejection_columns: ["Причина", "Измерения", "Значение"],
    no_rejections: "Отклоненных измерений нет.",
    rejection_meaning: russian_rejection,
    outside_the_grid: |samples| {
        let samples = counted(samples as u64, "измерение относится", "измерения относятся", "измерений относятся");
        format!("{samples} к ячейкам, которых в нынешней сетке нет: выше они не учтены.")
    },
    environment: "Окружение",
    fact_columns: ["Признак", "Значение"],
    identity: "Сервер и модель",
    load: "Нагрузка",
    run: "Измерение",
    no_facts: "Ничего не известно.",
    run_facts: RunFacts {
        epoch: "эпоха",
        epoch_began: "начало эпохи",
        period: "измерения с – по",
        cycles: "полные циклы",
        samples: "измерения, годные + отклоненные",
        requests: "запросы",
        output_tokens: "токены ответов",
        token_source: "источник числа токенов (измерения)",
        seed: "seed порядка ячеек",
        url: "URL",
    },
    conditions: "GPU во время измерений",
    condition_columns: ["Признак", "Медиана (наименьшее – наибольшее)"],
    condition_facts: ConditionFacts {
        temperature: "наибольшая температура, °C",
        sm_clock: "частота, МГц",
        memory_clock: "частота памяти, МГц",
        utilization: "загрузка, %",
        memory: "занятая память, ГиБ",
        power: "мощность, Вт",
        energy: "энергия на токен ответа, Дж",
        throttled: "чем замедлена (измерения)",
    },
    changes: changes::CHANGES,
    definitions: "Определения",
    definition_list: RUSSIAN_DEFINITIONS,
    charts: charts::CHARTS,
};

const fn russian_failure(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Dns => "имя узла не найдено",
        FailureKind::Connect => "нет соединения TCP",
        FailureKind::Tls => "нет сеанса TLS",
        FailureKind::TimeoutConnect => "соединение не установлено вовремя",
        FailureKind::TimeoutFirstToken => "первый токен не пришел вовремя",
        FailureKind::TimeoutBetweenTokens => "слишком долго между двумя токенами",
        FailureKind::TimeoutTotal => "ответ не закончился вовремя",
        FailureKind::Reset => "соединение оборвалось посреди ответа",
        FailureKind::Truncated => "поток закончился без завершающей отметки",
        FailureKind::RepetitionStop => "поток закончился после многих повторов одного текста подряд",
        FailureKind::Protocol => "ответ не соответствует протоколу",
        FailureKind::TooLarge => "строка или весь ответ длиннее предела",
        FailureKind::Http3xx => "перенаправление",
        FailureKind::Http4xx => "сервер отказал в запросе",
        FailureKind::RateLimited => "сервер просит слать реже (429)",
        FailureKind::Http5xx => "сбой сервера",
        FailureKind::ServerError => "ошибка в потоке, который начался хорошо",
        FailureKind::NotStarted => "отменен до отправки",
        FailureKind::Cancelled => "отменен",
    }
}

const fn russian_rejection(reason: InvalidReason) -> &'static str {
    match reason {
        InvalidReason::ClientLimited => "пределом был измеряющий клиент",
        InvalidReason::PrefixCache => "сервер ответил из кэша префиксов",
        InvalidReason::ModelLoad => "сервер в это время загружал модель",
        InvalidReason::ForeignLoad => "сервером пользовались и другие",
        InvalidReason::FailedRequests => "слишком много запросов закончились ошибкой",
        InvalidReason::OutputLength => "ответы длиннее или короче обычных для этой ячейки",
        InvalidReason::SlotsChanged => "у сервера изменилось число слотов или их контекст",
        InvalidReason::EnvironmentChanged => "изменились сервер, его модель или окружение",
        InvalidReason::Cancelled => "прервано посередине",
    }
}

const RUSSIAN_DEFINITIONS: &[(&str, &str)] = &[
    ("Workers (W)", "сколько запросов пакета клиент держит в работе одновременно, не больше"),
    (
        "Пакет (B)",
        "запросы одного измерения, все назначены на его начало; в таблицах прогонов это столбец \
         «Количество параллельных запросов», как в прежнем отчете",
    ),
    ("Общее время", "первая отправка → последнее завершение, секунды"),
    ("Среднее время на запрос", "общее время / B"),
    ("Сумма токенов", "токены всех успешных ответов пакета"),
    ("Токены в секунду (скорость)", "сумма токенов / общее время"),
    ("Установившаяся скорость", "скорость за то время, когда пишутся не менее 90 % от min(W, B, слоты) ответов"),
    ("TTFT", "время до первого токена: отправка → первая часть ответа с текстом"),
    (
        "Ожидание в очереди",
        "TTFT без собственного времени сервера на загрузку модели и на запрос, если он его сообщает; \
         медиана по ответам пакета",
    ),
    ("TPOT", "время на токен ответа: (последний токен − первый токен) / (токены − 1)"),
    ("ITL", "время между токенами: промежутки между частями ответа с текстом, поделенные на их токены"),
    ("E2E", "отправка → конец потока"),
    (
        "Наблюдаемая параллельность, среднее",
        "интеграл по времени от числа запросов между их первым и последним токеном / время, \
         в которое такие запросы есть",
    ),
    (
        "Наблюдаемая параллельность, пик",
        "наибольшее число таких запросов, которое держалось не менее половины медианы ITL",
    ),
    ("Значения ячейки", "медианы по годным измерениям ячейки; p50 и p95 – медианы соответствующих квантилей измерений"),
    (
        "Оптимальный размер пакета",
        "пакет с наибольшей скоростью; чем менее надежна скорость, тем больше она приближена к соседним",
    ),
    (
        "Интервал 95 %",
        "где истинная медиана лежит с вероятностью 95 %: exp(медиана ± t · s · √v) логарифмов; s – шум \
         ячейки, приближенный к общему, v – дисперсия медианы n значений, которые зависят от предыдущих",
    ),
    ("Возможно, не хуже (≈)", "P(скорость ≥ 0.99 · лучшая скорость) ≥ 5 %"),
    ("Разброс", "(верхний квартиль − нижний квартиль) / медиана"),
    ("Слотов на деле", "уровень, на котором держится наблюдаемая параллельность в пакетах от 2 W"),
    (
        "a + b·c",
        "время одного шага, за который каждый из c ответов получает по токену; подгонка к c / установившаяся скорость \
         всех ячеек, а где ее нет – к B · общее время / токены; выбросы весят меньше",
    ),
    ("Эпоха", "время, в которое не менялись, насколько известно, ни сервер с моделью и оборудованием, ни нагрузка"),
    (
        "Базовая эпоха",
        "новейшая из прежних с той же нагрузкой, тремя полными циклами и без ухудшения, которое никто не принял, или та, \
         что выбрана",
    ),
    (
        "Изменение",
        "exp(среднее по ячейкам от ln(скорость теперь / скорость тогда)), веса ячеек 1 / шум²; считается изменением от 1 %, \
         если интервал 95 % не содержит 0",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nouns_agree_with_their_counts() {
        let check = |count: u32, expected: &str| assert_eq!(counted(count, "запрос", "запроса", "запросов"), expected);
        check(0, "0 запросов");
        check(1, "1 запрос");
        check(2, "2 запроса");
        check(4, "4 запроса");
        check(5, "5 запросов");
        check(11, "11 запросов");
        check(12, "12 запросов");
        check(21, "21 запрос");
        check(104, "104 запроса");
        check(111, "111 запросов");
        check(1022, "1022 запроса");
    }

    #[test]
    fn headings_of_rows_are_in_the_genitive() {
        let check = |workers: u32, expected: &str| assert_eq!((RUSSIAN.row_title)(workers), expected);
        check(1, "Результаты для 1 параллельного запроса");
        check(4, "Результаты для 4 параллельных запросов");
        check(11, "Результаты для 11 параллельных запросов");
        check(21, "Результаты для 21 параллельного запроса");
    }
}
