"""All connected cubic graphs with at most 10 vertices, in graph6: 1, 2, 5 and 19 of them."""

CUBIC = {
    4: ["C~"],
    6: ["Ehuo", "ElhW"],
    8: ["GaKkn?", "GU``qW", "G`G}eO", "GLgImG", "GbdcHS"],
    10: [
        *("ILQQS?dAo", "IGcVAIgDO", "ILbAOWo?w", "IiGWtA@@g", "Iic_PCT`_", "IWd?X`P`_", "IAiAjQCKG"),
        *("IUHDOHDEO", "IBbB@oEaG", "IY_GIiaE_", "ISOXKPoOo", "IS@hu@GCW", "ICTacY_Gg", "IoLSQCo@W"),
        *("IJBCSOsAo", "IdH?YCw`O", "Ihd?KObD_", "I?ub?NOKO", "IC`HV@QL?"),
    ],
}
