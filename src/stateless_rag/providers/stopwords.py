"""Words that name nothing: small sets of function words, and what German nouns end in."""

from __future__ import annotations

__all__ = [
    "CHINESE_COMMON",
    "CHINESE_COUNTRIES",
    "CHINESE_FUNCTION",
    "CHINESE_PLACED",
    "CHINESE_WHOLE",
    "COMMON_STARTS",
    "ENGLISH",
    "ENGLISH_FIRST",
    "FUNCTION_WORDS",
    "GERMAN",
    "GERMAN_FIRST",
    "GERMAN_NOUN_ENDINGS",
    "GERMAN_ONLY",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ENGLISH = _words(
    """
    a an the this that these those it its he him his she her hers they them their theirs we us our ours
    you your yours i me my mine who whom whose which what when where why how if then than as at by for
    from in into of off on onto out over to under up with without within about above across after
    against along among around before behind below beneath beside besides between beyond during except
    inside near since through throughout till toward towards until upon via and or nor but so yet not no
    nor is are was were be been being am do does did done has have had having can could would should
    shall might must will may there here also only just very too more most much many some any each every
    both either neither all few several such other another same own one two first last while although
    though because however therefore thus hence moreover meanwhile instead later soon once again still
    even ever never always often sometimes usually already now today many like unlike per himself
    herself itself themselves according
    """
)
# German words after which a noun without article may be a name: prepositions, verbs of being, conjunctions.
GERMAN = _words(
    """
    in nach von aus mit bei zu für gegen durch um ohne bis seit ab über unter vor zwischen an auf und
    oder sowie als wie ist war wird wurde hat hatte heißt hieß genannt namens dass wenn weil während
    laut sagte schrieb
    """
)
_GERMAN_OTHER = _words(
    """
    der die das den dem des ein eine einen einem einer eines kein keine keinen keiner er sie es wir ihr
    ihre ihren ihrem ihrer sein seine seinen seinem seiner ich du man sich nicht auch nur noch schon
    sehr mehr im am zum zur vom beim ins ans dieser diese dieses diesem diesen jener jene jenes welche
    welcher welches was wer wo wann warum wie werden worden sind waren sein haben hatten kann können
    konnte soll sollte muss müssen darf aber denn doch dann da dort hier so damit dabei dazu daher
    jedoch zwar sowohl alle allem allen aller alles viele vielen einige andere anderen erste ersten zwei
    drei später heute dadurch außerdem zudem obwohl ob bereits etwa rund wurden wird wer wessen wem wen
    welchem welchen
    """
)
_ROMANCE = _words(
    """
    le la les un une des du et est dans pour que qui el los las una y en con por il lo gli per che non
    si sur
    """
)
FUNCTION_WORDS = ENGLISH | GERMAN | _GERMAN_OTHER | _ROMANCE
# Function words that are not part of the name they stand before.
ENGLISH_FIRST = ENGLISH - frozenset(("all", "first", "last", "many", "one", "same", "two"))
GERMAN_FIRST = GERMAN | _GERMAN_OTHER
GERMAN_ONLY = (GERMAN | _GERMAN_OTHER) - ENGLISH - frozenset(("die", "war", "hat", "so", "da", "am"))
# Capitalised at the start of a sentence or in headings, but no names when they stand alone.
COMMON_STARTS = FUNCTION_WORDS | _words(
    """
    born died released written directed produced founded located based set named called known made built
    published developed formed created people life early career history music album film song book
    series team game season year years day days time world city town village church school family father
    mother son daughter wife brother sister president king queen prince government university group
    company member members references external links see note notes overview introduction summary
    background plot cast production reception january february march april may june july august
    september october november december monday tuesday wednesday thursday friday saturday sunday
    originally currently critics new old great three four five six seven eight nine ten hundreds
    thousands most part half although chapter section table figure mr mrs dr jahr jahre zeit mensch
    menschen leben werk teil ende anfang beispiel kapitel abschnitt mal tag tage januar februar märz mai
    juni juli oktober dezember say tell give name list explain describe compare show find
    """
)
GERMAN_NOUN_ENDINGS = (
    "ung", "ungen", "heit", "heiten", "keit", "keiten", "schaft", "schaften", "tion", "tionen", "tät", "täten",
    "ismus", "chen", "lein", "nis", "nisse", "tum", "ling", "enz", "anz", "ik", "eur", "ment", "sal",
)  # fmt: skip
# Characters and words of Chinese that stand between names: particles, prepositions, conjunctions, pronouns,
# common verbs.
CHINESE_FUNCTION = _words(
    """
    的 了 是 在 和 与 及 或 对 从 到 由 被 把 将 于 以 为 而 但 也 都 就 还 很 更 最 其 这 那 有 之 并 且 则
    所 着 让 它 他 她 我 你 们 吗 呢 吧 啊 么 不 没 说 叫 跟 给 写 曾 哪 谁 几 什么 怎么 怎样 如何 为什么
    哪里 哪个 哪些 多少 何时 何地 是否 一个 一种 一些 一位 这个 那个 我们 他们 她们 它们 以及 因为 所以 但是
    如果 虽然 然而 因此 由于 通过 根据 关于 包括 成为 称为 认为 位于 属于 来自 作为 可以 能够 需要 已经 开始
    进行 使用 采用 用于 提出 发明 发现 设计 创立 创办 创建 成立 建立 出生 去世 毕业 担任 获得 发表 出版 撰写
    编写 著名 第一 第二 其中 同时 之后 之前 以后 以前 后来 当时 现在 目前 曾经 主要 非常 许多 很多 没有 不是
    就是 也是 还是 之一 起来 工作 合作 介绍 说明 请问 告诉 前往 来到 进入 离开 加入 参加 领导 生产 开发 制造
    穿越 起于 终点 主修 学习 研究 授予 颁发 荣获 创作 建造 建设 出售 收购 宣布 受到 运行 依靠 提供 记录 安排
    希望 寻找 结合 构成 发布 发起 继续 允许 破译 任何 共同 所有 全部 分别 可能 必须 应该 开发了 包含 具有
    拥有 组成 负责 支持 推动 引起 导致 爆发 召开 举行 通车 遇见 同游 迁居 流放 怀念 附近 期间 召见 合称 一起 重视
    同一 供奉 列入 停止 改进 出现 产生 形成 发展 到达 返回 移居 迁往 就读 任教 隶属 结婚
    """
)
# Words behind which a place stands, or where somebody works.
CHINESE_PLACED = _words(
    """
    在 于 到 从 由 前往 来到 进入 离开 加入 位于 来自 起于 穿越 出售 迁居 流放 移居 迁往 返回 到达 就读 任教
    隶属 同游 遇见 参加
    """
)
# Words that a function character would cut apart.
CHINESE_WHOLE = _words(
    """
    共和国 共和党 和平 研究所 交易所 事务所 场所 厕所 有限公司 有限 首都 成都 京都 自由 将军 小说 成就 存在
    以色列 不列颠 不丹 土耳其 行为 对象 对称 从事 目的 目标 因为 到达 的士 了解 是非 在线 在野 参与 与会 普及 埃及
    由来 理由 把握 被子 以太 以太网 以太坊 为主 而且 最高法院 就业 还原 其他 不同 特别 之家 并行 并发 规则 原则
    法则 沉着 叫做 给予 写作 几何 几内亚 有机 有色 所长 厂长 研究院 研究中心 研究员 研究生 世界大战 第一次世界大战
    第二次世界大战 制造业 开发者 开发商 发展中 支持者 研究者 学习者 建设兵团
    """
)
# Runs that are words of everyday life and name nothing, however often they come.
CHINESE_COMMON = _words(
    """
    大学 学院 中学 公司 集团 研究所 研究院 研究中心 实验室 银行 医院 机场 车站 火车站 博物馆 图书馆 出版社
    语言 引擎 算法 理论 定律 定理 方程 模型 系统 协会 委员会 政府 帝国 王国 共和国 战争 革命 条约 运动 会议
    王朝 程序 主义 数学家 科学家 物理学家 化学家 作家 诗人 总统 皇帝 国王 教授 博士 工程师 哲学家 音乐家
    导演 演员 学家 学生 学者 程序员 论文 密码 机器 部分 服务 工程 世界 各地 今天 晚年 战后 期间 人员 项目
    文件 方法 贡献 技术 工具 结果 问题 时候 时间 地方 生活 父亲 母亲 女儿 儿子 妻子 丈夫 海拔 铁路 全长 品牌
    手段 基础 任务 标准 形式 想法 建议书 联系 附近 机构 教学 小型 大型 个人 爱好 原理 代表 代表作 总部 对手
    竞争对手 早期 幼年 年代 学科 学位 职务 成员 领域 作品 影响 活动 关系 情况 过程 内容 方式 能力 人口 面积
    城市 国家 地区 人们 一期 二期 夫妇 二人 两人
    """
)
CHINESE_COUNTRIES = _words(
    """
    中国 美国 英国 法国 德国 日本 俄国 俄罗斯 苏联 意大利 西班牙 葡萄牙 荷兰 比利时 瑞士 瑞典 挪威 丹麦 芬兰
    冰岛 爱尔兰 奥地利 匈牙利 波兰 捷克 希腊 土耳其 埃及 以色列 印度 伊朗 伊拉克 韩国 朝鲜 越南 泰国 缅甸
    新加坡 马来西亚 印度尼西亚 菲律宾 澳大利亚 新西兰 加拿大 墨西哥 巴西 阿根廷 智利 秘鲁 古巴 南非 尼日利亚
    肯尼亚 乌克兰 罗马尼亚 保加利亚 塞尔维亚 克罗地亚 巴基斯坦 孟加拉国 沙特阿拉伯 蒙古
    """
)
