"""Finds names and terms in Chinese, which has no spaces and no capitals.

Function words and punctuation cut the text into short runs. In them, names show by their signs: 《》 around
titles, a dot inside transliterated names, characteristic last characters (大学, 公司, 语言, 机 …), years and
counted units; terms show by being repeated. Katakana runs are taken as they are.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, TypeVar

from stateless_rag.providers.stopwords import CHINESE_FUNCTION, CHINESE_WHOLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["HAN", "chinese_terms", "chinese_words"]

_H = "[\u3400-\u4dbf\u4e00-\u9fff]"
HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\u30a0-\u30ff]")
_RUN = re.compile(f"{_H}+")
_TITLE = re.compile("[《「『]([^《》「」『』\n]{1,40})[》」』]")
# Characters that transliterations of foreign names are mostly written with.
_FOREIGN = (
    "[阿艾爱安奥巴班邦保鲍贝本比彼毕波伯勃布查茨达大戴丹当道德登迪蒂丁杜多顿恩尔法范菲费芬佛弗夫福盖戈哥格贡古哈海汉豪赫亨华怀霍基吉加贾杰金卡凯"
    "坎康考柯科克肯库奎拉莱兰朗劳勒雷李里理丽利莉列林琳隆卢鲁路伦罗洛马玛迈麦曼梅蒙米密明莫墨姆木穆拿纳娜乃南内尼年宁牛纽农努诺欧帕潘佩彭皮普齐奇恰"
    "乔切琼荣茹瑞若萨塞桑瑟森沙珊莎尚舍圣施史士舒顺丝司斯思松苏索塔泰坦汤陶特提廷图托瓦万王威韦维伟温文沃乌伍西希锡夏香肖歇谢辛欣休许逊雅亚延扬杨"
    "芙蓉蕾琪茜黛薇莲朵露洁绮娅妲玻珀什济涅捷谷赞戴蔡薛魏邱秋菱凡菩吕律聂诺撒"
    "耶叶伊依以易因英尤于约泽扎詹珍芝朱兹子宗佐]"
)
_TRANSLITERATED = re.compile(f"{_FOREIGN}{{1,8}}(?:[·•・]{_FOREIGN}{{1,8}})+")
_KATAKANA = re.compile("[\u30a1-\u30fa\u30fc]{2,}(?:[・·][\u30a1-\u30fa\u30fc]{2,})*")
_LATIN = re.compile(r"[A-Za-z][A-Za-z0-9+#]*(?:[.\-/ ][A-Za-z0-9+#]+){0,3}")
_DATE = re.compile(r"\d{2,4}\s?年(?:\s?\d{1,2}\s?月(?:\s?\d{1,2}\s?日)?)?|\d{1,2}月\d{1,2}日|\d{1,2}世纪")
_NUMBER = re.compile(
    r"(?<![\d.])\d{1,15}(?:\.\d{1,15})?\s?(?:多)?(?:万|亿|千|百)*\s?(?:公里|千米|米|厘米|毫米|公斤|千克|吨|平方公里|元|美元|欧元|人|岁|个|%|℃)"
    r"|(?<![\d.])\d{1,15}(?:\.\d{1,15})?\s?[万亿]"
)
_SUFFIX = re.compile(
    "(?:大学|学院|中学|公司|集团|研究所|研究院|研究中心|实验室|银行|医院|机场|车站|博物馆|图书馆|出版社|语言|引擎|算法|理论|定律"
    "|定理|方程|模型|系统|协会|委员会|政府|帝国|王国|共和国|战争|革命|条约|运动|会议|王朝|计算机|程序|软件|网络|数据库|主义"
    "|机|党|省|市|县|州|国|河|江|山|湖|岛|海|洋|奖|学|家|师|员|诗|曲|剧)$"
)
_ROLE = re.compile(
    "^(?:数学家|物理学家|科学家|作家|诗人|总统|皇帝|国王|教授|博士|工程师|哲学家|音乐家|导演|演员)(?=.{2})"
)
_SURNAMES = frozenset(
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢"
)


def _longest_first(words: frozenset[str]) -> str:
    return "|".join(sorted(words, key=lambda word: (-len(word), word)))


# A whole word is matched too, so that the function character inside it is not; only group 1 cuts.
_FUNCTION = re.compile(
    f"(?:{_longest_first(CHINESE_WHOLE)})|({_longest_first(CHINESE_FUNCTION)}|[中里上下后前时等](?!{_H}))"
)
_LONGEST_RUN = 10
_BOUND = 20_000
_REPEATED = 100

Made = TypeVar("Made")


def chinese_terms(text: str, make: Callable[[int, int, str, str], Made]) -> list[Made]:
    """What the text names: `make(start, stop, name, type)` for each place, in no order, with overlaps."""
    found = [make(m.start(1), m.end(1), m[1].strip(), "title") for m in _TITLE.finditer(text)]
    for pattern, kind in (
        (_TRANSLITERATED, "name"),
        (_KATAKANA, "name"),
        (_DATE, "date"),
        (_NUMBER, "number"),
    ):
        found += [
            make(m.start(), m.end(), m[0], kind) for m in pattern.finditer(text) if m.end() - m.start() > 1
        ]
    if 5 * len(HAN.findall(text)) > len(text):
        # In a text of another language with some Chinese in it, Latin words are just its words.
        found += [make(m.start(), m.end(), m[0], "name") for m in _LATIN.finditer(text) if len(m[0]) > 1]
    runs = list(_runs(text[:_BOUND]))
    repeated = _repeated_in(runs)
    for start, run in runs:
        kind = _kind(run)
        if kind:
            role = _ROLE.match(run)
            cut = role.end() if role else 0
            found.append(make(start + cut, start + len(run), run[cut:], kind))
            continue
        for term in repeated:
            at = run.find(term)
            while at >= 0:
                found.append(make(start + at, start + at + len(term), term, "term"))
                at = run.find(term, at + len(term))
    return found


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
    often = sorted(usual.keys() - covered, key=lambda gram: (-usual[gram], -len(gram), gram))
    return sorted(often[:_REPEATED], key=lambda gram: (-len(gram), -usual[gram], gram))
