"""Finds names and terms in Chinese, which has no spaces and no capitals.

Function words and punctuation cut the text into short runs. In them, names show by their signs: 《》 around
titles, a dot inside transliterated names, characteristic last characters (大学, 公司, 语言, 机 …), years and
counted units; names of countries, a place behind 在 or 前往, and what is listed with 、 and 和. Terms show by being
repeated. The last part of a transliterated name stands for all of it. Katakana runs are taken as they are.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, TypeVar

from stateless_rag.providers.stopwords import (
    CHINESE_COMMON,
    CHINESE_COUNTRIES,
    CHINESE_FUNCTION,
    CHINESE_PLACED,
    CHINESE_WHOLE,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["HAN", "chinese_terms", "chinese_words"]

_H = "[\u3400-\u4dbf\u4e00-\u9fff]"
HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\u30a0-\u30ff]")
_RUN = re.compile(f"{_H}+")
_TITLE = re.compile("[《「『]([^《》「」『』\n]{1,40})[》」』]|“([^“”\n]{2,12})”(?!一词)")
# Characters that transliterations of foreign names are mostly written with.
_FOREIGN = (
    "[阿埃艾爱安奥巴班邦保鲍贝本比彼毕波伯勃布查茨达大戴丹当道德登迪蒂丁杜多顿恩尔法范菲费芬佛弗夫福盖戈哥格贡古哈海汉豪赫亨华怀霍基吉加贾杰金卡凯"
    "坎康考柯科克肯库奎拉莱兰朗劳勒雷李里理丽利莉列林琳隆卢鲁路伦罗洛马玛迈麦曼梅蒙米密明莫墨姆木穆拿纳娜乃南内尼年宁牛纽农努诺欧帕潘佩彭皮普齐奇恰"
    "乔切琼荣茹瑞若萨塞桑瑟森沙珊莎尚舍圣施史士舒顺丝司斯思松苏索塔泰坦汤陶特提廷图托瓦万王威韦维伟温文沃乌伍西希锡夏香肖歇谢辛欣休许逊雅亚延扬杨"
    "芙蓉蕾琪茜黛薇莲朵露洁绮娅妲玻珀什济涅捷谷赞戴蔡薛魏邱秋菱凡菩吕律聂诺撒"
    "居耶叶伊依以易因英尤于约泽扎詹珍芝朱兹子宗佐]"
)
# Behind a dot one other character may stand between two of them, or before a sign or a particle.
_PART = (
    f"{_FOREIGN}(?:(?!提出|发明|发现|获得|加入|来到|认为|希望){_FOREIGN}"
    f"|(?![的是在和与于为了从对把被将等])(?!{_FOREIGN}){_H}(?={_FOREIGN}{{2}}|[的是在和与于为]|(?!{_H}))){{0,7}}"
)
_TRANSLITERATED = re.compile(f"{_FOREIGN}{{1,8}}(?:[·•・]{_PART})+(?:-{_FOREIGN}{{1,4}})?")
_KATAKANA = re.compile("[\u30a1-\u30fa\u30fc]{2,}(?:[・·][\u30a1-\u30fa\u30fc]{2,})*")
_LATIN = re.compile(r"[A-Za-z][A-Za-z0-9+#]*(?:[.\-/ ][A-Za-z0-9+#]+){0,3}")
_DATE = re.compile(
    r"\d{1,2}世纪\d0年代|\d{2,4}年代|\d{2,4}\s?年(?:\s?\d{1,2}\s?月(?:\s?\d{1,2}\s?日)?)?|\d{1,2}月\d{1,2}日|\d{1,2}世纪"
)
_NUMBER = re.compile(
    r"(?<![\d.])\d{1,15}(?:\.\d{1,15})?\s?(?:多)?(?:万|亿|千|百)*\s?(?:公里|千米|米|厘米|毫米|公斤|千克|吨|平方公里|元|美元|欧元|人|岁|个|%|℃)"
    r"|(?<![\d.])\d{1,15}(?:\.\d{1,15})?\s?[万亿]"
)
_SUFFIXES = (
    "大学|学院|中学|公司|集团|研究所|研究院|研究中心|实验室|银行|医院|机场|车站|博物馆|图书馆|出版社|语言|引擎|算法|理论|定律"
    "|定理|方程|模型|系统|协会|委员会|政府|帝国|王国|共和国|战争|大战|之乱|革命|条约|运动|会议|王朝|计算机|程序|软件|网络|数据库|主义"
    "|联盟|部门|浏览器|服务器|芯片|铁路|公路|勋章|计划|测试|装置"
)
_SUFFIX = re.compile(f"(?:{_SUFFIXES}|机|党|省|市|县|州|国|城|园|江|山|湖|岛|海|洋|奖|诗|曲|剧)$")
# Latin letters with a word behind them: C语言, IBM公司.
_MIXED = re.compile(f"[A-Za-z][A-Za-z0-9+#]*(?:{_SUFFIXES})")
_ROLE = re.compile(
    "^(?:数学家|物理学家|科学家|作家|诗人|总统|皇帝|国王|教授|博士|工程师|哲学家|音乐家|导演|演员)(?=.{2})"
)
_SURNAMES = frozenset(
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢"
)


def _longest_first(words: frozenset[str]) -> str:
    return "|".join(sorted(words, key=lambda word: (-len(word), word)))


# A whole word is matched too, so that the function character inside it is not; only group 1 cuts. Counted things
# ("一家软件公司") begin behind what counts them.
_FUNCTION = re.compile(
    f"(?:{_longest_first(CHINESE_WHOLE)})"
    "|((?:第?[一二两三四五六七八九十]|[这那该某每各几数])[个种台家位份座部条项次名所款期]"
    f"|{_longest_first(CHINESE_FUNCTION)}|[中里上下后前时等](?!{_H}))"
)
_COUNTRY = re.compile(f"(?:{_longest_first(CHINESE_COUNTRIES)})")
_PERSON = re.compile("(?:家|员|师|人|者|学家|教授|博士|总统|皇帝|国王)$")
_AFTER_DATE = re.compile("^(?:年代初?|年起|年度|年|起|初|末|底|间|期间)")
_JOINED = frozenset("、和与及")
_LONGEST_RUN = 10
_LONGEST_PLACED = 5
_BOUND = 20_000
_REPEATED = 100

Made = TypeVar("Made")
Span = tuple[int, int, str, str]


def chinese_terms(text: str, make: Callable[[int, int, str, str], Made]) -> list[Made]:
    """What the text names: `make(start, stop, name, type)` for each place, in no order, with overlaps."""
    marked = _marked(text)
    rest = _without(text[:_BOUND], marked)
    found = [*marked, *_last_names(rest, marked)]
    unnamed: list[tuple[int, str]] = []
    for start, run in (part for place in _runs(rest) for part in _unroled(*place)):
        named = _named(rest, start, run)
        found += named
        if not named:
            unnamed.append((start, run))
    for term in _repeated_in([run for run in unnamed if not _PERSON.search(run[1])]):
        for start, run in unnamed:
            at = run.find(term)
            while at >= 0:
                found.append((start + at, start + at + len(term), term, "term"))
                at = run.find(term, at + len(term))
    return [make(*span) for span in found]


def _marked(text: str) -> list[Span]:
    """What signs mark: titles, transliterated names, dates, numbers, and Latin letters."""
    found: list[Span] = []
    for match in _TITLE.finditer(text):
        group = 1 if match[1] is not None else 2
        if HAN.search(match[group]):
            found.append((match.start(group), match.end(group), match[group].strip(), "title"))
    patterns = [(_TRANSLITERATED, "name"), (_KATAKANA, "name"), (_DATE, "date"), (_NUMBER, "number")]
    if 5 * len(HAN.findall(text)) > len(text):
        # In a text of another language with some Chinese in it, Latin words are just its words.
        patterns += [(_MIXED, "name"), (_LATIN, "name")]
    for pattern, kind in patterns:
        places = (match for match in pattern.finditer(text) if match.end() - match.start() > 1)
        found += [(match.start(), match.end(), match[0], kind) for match in places]
    return found


def _without(text: str, marked: list[Span]) -> str:
    """The text with spaces for what is marked already, so that offsets stay."""
    parts: list[str] = []
    at = 0
    for start, stop, _, _ in sorted(marked):
        if start >= at:
            parts += [text[at:start], " " * (min(stop, len(text)) - start)]
            at = stop
    return "".join([*parts, text[at:]])


def _last_names(rest: str, marked: list[Span]) -> list[Span]:
    """Where the part behind the dot of a transliterated name stands alone, it stands for the name."""
    found: list[Span] = []
    seen: dict[str, str] = {}
    for _, _, name, kind in marked:
        last = re.split("[·•・]", name)[-1]
        if kind == "name" and last != name and len(last) > 1:
            seen.setdefault(last, name)
    for last, name in seen.items():
        places = (match.span() for match in re.finditer(re.escape(last), rest))
        found += [
            (*place, name, "name") for place in places if not _SUFFIX.match(rest, place[1], place[1] + 1)
        ]
    return found


def _unroled(start: int, run: str) -> Iterator[tuple[int, str]]:
    """A run without what came with a date before it; a person's country and calling are two runs."""
    cut = _AFTER_DATE.match(run)
    if cut:
        start, run = start + cut.end(), run[cut.end() :]
    country = _COUNTRY.match(run)
    if country and country.end() < len(run) and _PERSON.search(run):
        yield start, country[0]
        start, run = start + country.end(), run[country.end() :]
    if run:
        yield start, run


def _named(text: str, start: int, run: str) -> list[Span]:
    """The name that a run is or holds, by its own signs or by what stands around it; else nothing."""
    stop = start + len(run)
    if run in CHINESE_COMMON:
        return []
    if _COUNTRY.fullmatch(run):
        return [(start, stop, run, "name")]
    if _kind(run):
        role = _ROLE.match(run)
        cut = role.end() if role else 0
        return [(start + cut, stop, run[cut:], "name")]
    if 2 <= len(run) <= _LONGEST_PLACED and not _PERSON.search(run):
        before, behind = text[max(0, start - 2) : start], text[stop : stop + 1]
        if before in CHINESE_PLACED or before[-1:] in CHINESE_PLACED:
            return [(start, stop, run, "name")]
        if before[-1:] in _JOINED or behind in _JOINED:
            return [(start, stop, run, "term")]
    country = _COUNTRY.match(run)
    return [(start, start + country.end(), country[0], "name")] if country else []


def chinese_words(text: str) -> list[str]:
    """The runs between function words, in order, each once: what a short text such as a question is about."""
    return list(dict.fromkeys(run for _, run in _runs(text) if len(run) > 1))


def _runs(text: str) -> Iterator[tuple[int, str]]:
    """Runs of Chinese characters between function words and punctuation, with their offsets."""
    for match in _RUN.finditer(text):
        start = match.start()
        at = 0
        for cut in _FUNCTION.finditer(match[0]):
            if cut[1] is None:
                continue
            if cut.start() > at:
                yield start + at, match[0][at : cut.start()]
            at = cut.end()
        if at < len(match[0]):
            yield start + at, match[0][at:]


def _kind(run: str) -> str:
    """What the signs of a whole run say it is, or ""."""
    if not 2 <= len(run) <= _LONGEST_RUN:
        return ""
    suffix = _SUFFIX.search(run)
    if suffix and len(run) > len(suffix[0]):
        return "name"
    return "name" if len(run) in (2, 3) and run[0] in _SURNAMES else ""


def _repeated_in(runs: list[tuple[int, str]]) -> list[str]:
    """Sequences of 2 to 6 characters that occur twice or more, none part of a longer one as frequent;
    the longest first.
    """
    counts: Counter[str] = Counter()
    for _, run in runs:
        counts.update(run[at : at + size] for size in range(2, 7) for at in range(len(run) - size + 1))
    usual = {gram: count for gram, count in counts.items() if count > 1}
    covered = {
        part for gram, count in usual.items() for part in (gram[1:], gram[:-1]) if usual.get(part) == count
    }
    often = sorted(usual.keys() - covered - CHINESE_COMMON, key=lambda gram: (-usual[gram], -len(gram), gram))
    return sorted(often[:_REPEATED], key=lambda gram: (-len(gram), -usual[gram], gram))
