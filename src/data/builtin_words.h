#pragma once

namespace xinslm {

/// The tables of the built-in stories; see grammar.h for the notation.
inline constexpr const char* kBuiltinWords = R"(
table kind  a word group
  8 a_girl girl girl
  8 a_boy boy boy
  3 a_rabbit rabbit animal
  3 a_fox fox animal
  2 a_mouse mouse animal
  2 a_bear bear animal
  2 an_owl owl animal
  2 a_duck duck animal
  2 a_cat cat animal
  2 a_dog dog animal
  1 a_squirrel squirrel animal
  1 a_hedgehog hedgehog animal
  1 a_frog frog animal
  1 a_pony pony animal

table name.girl  name he him his
  6 Lily she her her
  6 Anna she her her
  5 Mia she her her
  5 Sara she her her
  4 Rosa she her her
  4 Nina she her her
  3 Emma she her her
  3 Clara she her her
  3 Ida she her her
  2 Greta she her her
  2 Zoe she her her
  2 Amina she her her
  1 Yuki she her her
  1 Paula she her her

table name.boy  name he him his
  6 Tom he him his
  6 Ben he him his
  5 Max he him his
  5 Leo he him his
  4 Sam he him his
  4 Finn he him his
  3 Noah he him his
  3 Oskar he him his
  3 Paul he him his
  2 Emil he him his
  2 Hugo he him his
  2 Amir he him his
  1 Kenji he him his
  1 Victor he him his

table name.animal  name he him his
  4 Pip he him his
  4 Bramble she her her
  3 Dot she her her
  3 Whiskers he him his
  3 Hazel she her her
  3 Rusty he him his
  2 Clover she her her
  2 Button he him his
  2 Pepper she her her
  2 Nutmeg she her her
  1 Biscuit he him his
  1 Willow she her her

table trait  a word
  4 a_kind kind
  4 a_brave brave
  4 a_curious curious
  3 a_cheerful cheerful
  3 a_clever clever
  3 a_shy shy
  2 a_patient patient
  2 a_gentle gentle
  2 a_stubborn stubborn
  2 an_honest honest
  1 an_impatient impatient
  1 a_forgetful forgetful

table home  where near
  4 in_a_small_village in_the_village
  4 near_the_sea by_the_sea
  3 at_the_edge_of_a_forest around_the_forest
  3 in_a_house_on_a_hill on_the_hill
  3 beside_a_wide_river along_the_river
  2 in_a_busy_town in_the_town
  2 on_a_quiet_farm on_the_farm
  2 in_a_green_valley in_the_valley
  1 under_a_tall_mountain below_the_mountain
  1 on_a_windy_island on_the_island

table place  at the
  5 in_the_garden the_garden
  5 in_the_park the_park
  4 by_the_pond the_pond
  4 in_the_woods the_woods
  3 at_the_market the_market
  3 on_the_beach the_beach
  3 by_the_old_mill the_old_mill
  2 in_the_meadow the_meadow
  2 at_the_harbour the_harbour
  2 under_the_bridge the_bridge
  1 in_the_orchard the_orchard
  1 by_the_stone_tower the_stone_tower

table spot  where
  4 under_the_bed
  4 behind_the_door
  4 in_the_kitchen
  3 between_the_cushions
  3 under_a_pile_of_leaves
  3 behind_the_shed
  3 in_the_tall_grass
  2 inside_an_old_boot
  2 next_to_the_well
  2 on_top_of_the_cupboard
  2 below_the_apple_tree
  1 in_the_attic
  1 at_the_bottom_of_the_basket
  1 in_the_laundry

table colour  a word
  5 a_red red
  5 a_blue blue
  4 a_green green
  4 a_yellow yellow
  3 a_white white
  3 a_brown brown
  2 a_purple purple
  2 an_orange orange
  1 a_silver silver
  1 a_golden golden

table toy  word part verb
  5 ball patch bounce
  5 kite tail fly
  4 boat sail float
  4 drum strap beat
  3 wagon wheel pull
  3 scooter bell ride
  3 puppet string move
  2 train track push
  2 robot arm wind_up
  2 flute key play
  1 top handle spin
  1 lantern hook light

table clothing  word
  4 hat
  4 scarf
  3 coat
  3 sock
  2 glove
  2 ribbon
  2 umbrella
  1 backpack

table food  word main verb
  4 cake flour bake
  4 soup carrots cook
  3 bread yeast bake
  3 pie apples bake
  2 jam strawberries cook
  2 pancakes milk make
  1 salad cucumbers make
  1 pudding cream make

table lender  the he him
  4 the_neighbour she her
  3 the_baker he him
  3 the_old_farmer he him
  2 the_teacher she her
  2 the_miller he him
  1 the_postman he him
  1 the_captain she her

table elder  word he
  4 mother she
  4 father he
  3 grandmother she
  3 grandfather he
  2 aunt she
  2 uncle he
  1 cousin he

table tool  word
  4 glue
  3 string
  3 nails
  2 thread
  2 tape
  1 wire

table happy  word
  5 happy
  4 glad
  3 proud
  3 delighted
  2 cheerful
  2 thankful
  1 relieved

table sad  word
  5 sad
  3 upset
  3 worried
  2 unhappy
  2 disappointed
  1 miserable

table time  when
  5 One_morning
  4 One_day
  3 One_afternoon
  3 On_a_sunny_day
  2 On_a_cold_day
  2 After_breakfast
  1 One_quiet_evening
  1 Early_in_spring

table weather  noun verb
  4 rain pour
  3 wind howl
  3 snow fall
  2 storm rage
  1 hail rattle

table indoor  doing
  4 told_stories_by_the_fire
  4 built_a_castle_of_cushions
  3 painted_pictures
  3 baked_biscuits
  2 played_cards
  2 sang_old_songs
  1 made_paper_birds
  1 looked_at_maps

table outing  to
  4 swim
  4 have_a_picnic
  3 climb_trees
  3 look_for_shells
  2 catch_butterflies
  2 race
  1 pick_berries
  1 draw_flowers

table trouble  what need
  4 was_stuck_in_the_mud rope
  3 had_fallen_into_a_hole ladder
  3 was_caught_in_a_thorny_bush knife
  3 could_not_cross_the_stream plank
  2 sat_high_in_a_tree_and_could_not_get_down ladder
  2 was_lost_in_the_fog lamp
  1 had_a_heavy_cart_to_push rope
  1 was_cold_and_wet blanket

table job  task done
  4 water_the_flowers watered_the_flowers
  4 sweep_the_yard swept_the_yard
  3 carry_the_wood carried_the_wood
  3 feed_the_hens fed_the_hens
  2 wash_the_windows washed_the_windows
  2 pick_the_plums picked_the_plums
  1 paint_the_fence painted_the_fence
  1 deliver_the_letters delivered_the_letters

table days  word
  4 two_days
  4 three_days
  3 a_week
  1 ten_days
  1 a_month

table gift  word
  4 a_jar_of_honey
  3 a_shiny_shell
  3 a_bunch_of_flowers
  2 a_warm_loaf
  2 a_wooden_whistle
  1 a_smooth_pebble
  1 a_bag_of_nuts
)";

}  // namespace xinslm
